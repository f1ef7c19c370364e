"""Checkpoints: whole or not there, and never another job's."""

from __future__ import annotations

import errno
import json
import os
import random
import time

import pytest
import torch

from steps.contract import StepError
from steps.train.checkpoint import Checkpoint, CheckpointFolder
from tests.steps.train.crash import processes, write_checkpoints_for_ever

OWNER = {"seed": 0, "dataset_sha256": "abc", "learning_rate": 0.001}


@pytest.fixture
def log():
    return []


@pytest.fixture
def checkpoints(tmp_path, log):
    return CheckpointFolder(tmp_path / "checkpoints", OWNER, log.append)


def checkpoint(steps):
    return Checkpoint(steps, {"weights/a": torch.full((3, 2), float(steps))}, {"loss": 0.1 + steps})


def test_what_was_saved_is_read_again_bit_for_bit(checkpoints):
    checkpoints.save(checkpoint(7))
    found = checkpoints.latest()
    assert found.steps == 7
    assert torch.equal(found.tensors["weights/a"], torch.full((3, 2), 7.0))
    assert found.state == {"loss": 0.1 + 7}


def test_there_is_none_before_the_first(checkpoints):
    assert checkpoints.latest() is None


def test_the_last_two_are_kept(checkpoints, tmp_path):
    for steps in (1, 2, 3, 10):
        checkpoints.save(checkpoint(steps))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000010"]


def test_nothing_in_a_checkpoint_needs_unpickling(checkpoints):
    folder = checkpoints.save(checkpoint(1))
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".json", ".safetensors"]


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "sums.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "lose"])
def test_a_damaged_newest_one_gives_way_to_the_one_before(checkpoints, log, name, harm):
    checkpoints.save(checkpoint(1))
    path = checkpoints.save(checkpoint(2)) / name
    content = bytearray(path.read_bytes())
    if harm == "lose":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert checkpoints.latest().steps == 1
    assert "step-00000002 is damaged" in log[0]
    assert checkpoints.save(checkpoint(2)).is_dir()
    assert checkpoints.latest().steps == 2


def test_when_all_are_damaged_the_user_is_told_and_nothing_is_deleted(checkpoints):
    folders = [checkpoints.save(checkpoint(steps)) for steps in (1, 2)]
    for folder in folders:
        (folder / "state.safetensors").write_bytes(b"")
    with pytest.raises(StepError, match=r"Every checkpoint in .* is damaged: delete that folder"):
        checkpoints.latest()
    assert all((folder / "state.json").is_file() for folder in folders)


def test_sums_that_match_a_file_of_no_tensors_do_not_help(checkpoints):
    import hashlib

    checkpoints.save(checkpoint(1))
    folder = checkpoints.save(checkpoint(2))
    (folder / "state.safetensors").write_bytes(b"no tensors")
    sums = json.loads((folder / "sums.json").read_text())
    sums["state.safetensors"] = hashlib.sha256(b"no tensors").hexdigest()
    (folder / "sums.json").write_text(json.dumps(sums))
    assert checkpoints.latest().steps == 1


def test_a_half_written_folder_is_not_read_and_goes_with_the_next_one(checkpoints, tmp_path):
    checkpoints.save(checkpoint(1))
    torn = tmp_path / "checkpoints" / ".step-00000002.partial"
    torn.mkdir()
    (torn / "state.safetensors").write_bytes(b"half")
    assert checkpoints.latest().steps == 1
    checkpoints.save(checkpoint(3))
    assert not torn.exists()


def test_another_jobs_checkpoint_is_refused_with_what_differs(checkpoints, tmp_path):
    checkpoints.save(checkpoint(1))
    other = CheckpointFolder(tmp_path / "checkpoints", OWNER | {"learning_rate": 0.002}, print)
    with pytest.raises(StepError, match=r"another training job \(learning_rate was 0.001 and is"):
        other.latest()


def test_a_full_disk_leaves_the_earlier_checkpoint(checkpoints, tmp_path, monkeypatch):
    checkpoints.save(checkpoint(1))

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(checkpoint(2))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert checkpoints.latest().steps == 1


def test_a_process_killed_at_any_moment_leaves_its_last_whole_checkpoint(tmp_path):
    folder, said = tmp_path / "checkpoints", tmp_path / "said"
    moments = random.Random(0)  # noqa: S311 - when to kill, no secret
    reached = 0
    for _ in range(5):
        process = processes().Process(target=write_checkpoints_for_ever, args=(folder, said))
        process.start()
        before = said.stat().st_size if said.exists() else 0
        while not said.exists() or said.stat().st_size == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        log: list[str] = []
        found = CheckpointFolder(folder, {"job": 1}, log.append).latest()
        promised = int(said.read_text().split("\n")[-2])
        assert not log, "a kill must leave no damaged checkpoint, only unfinished ones"
        assert found.steps in (promised, promised + 1)
        assert torch.equal(found.tensors["weights"], torch.full((20_000,), float(found.steps)))
        assert found.steps > reached
        reached = found.steps
