from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.local import runs
from pipeline.local.errors import PipelineError, StorageError, UsageError
from pipeline.local.fingerprints import FileHashes
from pipeline.local.run import open_storage
from pipeline.local.runs import Execution, StepRecord
from pipeline.local.storage import FolderStorage, disk_errors, parse_address


@pytest.fixture
def store(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path, FileHashes(tmp_path / "hashes.json"))


def no_pulse() -> None:
    pass


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def content(path: Path) -> dict[str, str]:
    return {p.relative_to(path).as_posix(): p.read_text() for p in path.rglob("*") if p.is_file()}


def test_an_address_has_a_bucket_and_a_key() -> None:
    assert str(parse_address("s3://bucket/a//b/")) == "s3://bucket/a/b"
    assert parse_address("s3://bucket").key == ""


@pytest.mark.parametrize(
    "uri", ["bucket/key", "s3://", "s3://Bucket/x", "s3:///x", "https://a/b", "s3://../x"]
)
def test_other_texts_are_no_address(uri: str) -> None:
    with pytest.raises(StorageError, match="is not an address: write s3://bucket/key"):
        parse_address(uri)


@pytest.mark.parametrize(
    "uri", ["s3://bucket/../x", "s3://bucket/a/../../x", "s3://bucket/./x", "s3://bucket/a\\b",
            "s3://bucket/a\0b"]
)  # fmt: skip
def test_a_key_cannot_leave_its_bucket(uri: str, store: FolderStorage) -> None:
    for use in (store.read, store.path):
        with pytest.raises(StorageError, match="is not accepted"):
            use(uri)


def test_a_folder_is_published_whole_and_fetched(store: FolderStorage, tmp_path: Path) -> None:
    store.publish_folder(folder(tmp_path / "x", a="1", b="2"), "s3://bucket/out", None, no_pulse)
    assert not (tmp_path / "x").exists()
    store.fetch("s3://bucket/out", tmp_path / "in", no_pulse)
    assert content(tmp_path / "in") == {"a": "1", "b": "2"}


def test_publishing_again_replaces_object_by_object(store: FolderStorage, tmp_path: Path) -> None:
    store.publish_folder(folder(tmp_path / "x", a="1", b="2"), "s3://bucket/out", None, no_pulse)
    store.publish_folder(folder(tmp_path / "x", b="3", c="4"), "s3://bucket/out", None, no_pulse)
    assert content(store.path("s3://bucket/out")) == {"a": "1", "b": "3", "c": "4"}


def test_uploading_replaces_everything(store: FolderStorage, tmp_path: Path) -> None:
    first, second = folder(tmp_path / "x", a="1"), folder(tmp_path / "y", b="2")
    store.upload(first, "s3://bucket/raw")
    store.upload(second, "s3://bucket/raw")
    assert content(store.path("s3://bucket/raw")) == {"b": "2"}
    assert content(first) == {"a": "1"}
    store.upload(second / "b", "s3://bucket/raw")
    assert store.read("s3://bucket/raw") == b"2"
    assert not list((tmp_path / "s3" / ".incoming").iterdir())


def test_uploading_the_same_again_leaves_what_is_there(
    store: FolderStorage, tmp_path: Path
) -> None:
    source = folder(tmp_path / "x", a="1", b="2")
    store.upload(source, "s3://bucket/raw")
    before = store.path("s3://bucket/raw").stat().st_ino
    store.upload(source, "s3://bucket/raw")
    assert store.path("s3://bucket/raw").stat().st_ino == before
    (source / "a").write_text("9")
    store.upload(source, "s3://bucket/raw")
    assert store.read("s3://bucket/raw/a") == b"9"


def test_an_empty_folder_can_be_uploaded(store: FolderStorage, tmp_path: Path) -> None:
    store.upload(folder(tmp_path / "x"), "s3://bucket/raw")
    assert store.manifest("s3://bucket/raw", no_pulse) == {}


def test_links_to_files_are_stored_as_files(store: FolderStorage, tmp_path: Path) -> None:
    source = folder(tmp_path / "x", a="1")
    (source / "b").symlink_to(source / "a")
    store.publish_folder(source, "s3://bucket/out", None, no_pulse)
    assert not store.path("s3://bucket/out/b").is_symlink()
    assert store.read("s3://bucket/out/b") == b"1"


def link_to_a_folder(path: Path) -> None:
    (path / "odd").symlink_to(path.parent)


def dangling_link(path: Path) -> None:
    (path / "odd").symlink_to(path / "nothing")


def pipe(path: Path) -> None:
    os.mkfifo(path / "odd")


@pytest.mark.parametrize("make", [link_to_a_folder, dangling_link, pipe])
def test_what_is_no_plain_file_is_refused(
    make: Callable[[Path], None], store: FolderStorage, tmp_path: Path
) -> None:
    source = folder(tmp_path / "x")
    make(source)
    with pytest.raises(StorageError, match="odd is not a plain file and cannot be stored"):
        store.publish_folder(source, "s3://bucket/out", None, no_pulse)
    assert not store.path("s3://bucket/out").exists()


def test_an_object_is_not_a_folder(store: FolderStorage, tmp_path: Path) -> None:
    store.upload(folder(tmp_path / "x", a="1"), "s3://bucket/out")
    with pytest.raises(StorageError, match="is a folder, and one object is needed"):
        store.read("s3://bucket/out")
    source = folder(tmp_path / "y", a="1")
    with pytest.raises(StorageError, match="cannot be read or written"):
        store.publish_folder(source, "s3://bucket/out/a/below", None, no_pulse)


def test_a_transfer_can_be_given_up(store: FolderStorage, tmp_path: Path) -> None:
    store.upload(folder(tmp_path / "x", a="1"), "s3://bucket/out")

    def give_up() -> None:
        raise KeyError("asked to stop")

    with pytest.raises(KeyError):
        store.fetch("s3://bucket/out", tmp_path / "in", give_up)
    assert not (tmp_path / "in" / "a").exists()


def test_a_manifest_knows_what_has_changed(store: FolderStorage, tmp_path: Path) -> None:
    store.upload(folder(tmp_path / "x", a="1", b="2"), "s3://bucket/out")
    manifest = store.manifest("s3://bucket/out", no_pulse)
    assert store.unchanged("s3://bucket/out", manifest)
    store.path("s3://bucket/out/a").touch()
    assert store.unchanged("s3://bucket/out", manifest)
    store.path("s3://bucket/out/a").write_text("9")
    assert not store.unchanged("s3://bucket/out", manifest)
    store.path("s3://bucket/out/a").unlink()
    assert not store.unchanged("s3://bucket/out", manifest)
    assert not store.unchanged("s3://bucket/gone", {})


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as raised, disk_errors(tmp_path):
        Path("/dev/full").write_text("x")
    assert str(raised.value) == (
        f"The disk is full while writing {tmp_path}: free some space, then resume."
    )
    denied = pytest.raises(StorageError, match=r"here cannot be read or written: Permission den")
    with denied, disk_errors(tmp_path):
        raise OSError(errno.EACCES, "Permission denied", "here")


def test_storage_is_opened_for_a_home_or_an_endpoint(tmp_path: Path) -> None:
    assert isinstance(open_storage(tmp_path), FolderStorage)
    assert not isinstance(open_storage(tmp_path, "http://127.0.0.1:9"), FolderStorage)


def execution(identity: str, started: str) -> Execution:
    steps = {"A": StepRecord("A", "Processing", "a", outputs={"x": [1]})}
    return Execution(identity, "Succeeded", started, {"Epochs": 3}, steps)


def test_executions_are_listed_with_the_newest_first(tmp_path: Path) -> None:
    kept: list[Execution] = []
    for started in ("2026-01-01", "2026-03-01", "2026-02-01"):
        identity, place, lock = runs.create(tmp_path)
        kept.append(execution(identity, started))
        runs.save(place, kept[-1])
        lock.release()
    (tmp_path / "executions" / "notanexecution").mkdir()
    broken = tmp_path / "executions" / ("b" * 12)
    folder(broken, **{"execution.json": "{"})
    assert runs.list_executions(tmp_path) == [kept[1], kept[2], kept[0]]
    for text, message in (
        ("{", "cannot be read"),
        ("[]", "does not hold an object"),
        ("{}", "is not a record of an execution"),
    ):
        (broken / "execution.json").write_text(text)
        with pytest.raises(PipelineError, match=message):
            runs.load(tmp_path, "b" * 12)


def test_what_is_no_execution_is_refused(tmp_path: Path) -> None:
    assert runs.list_executions(tmp_path) == []
    with pytest.raises(UsageError, match="is not the id of an execution"):
        runs.load(tmp_path, "../secrets")
    with pytest.raises(UsageError, match="There is no execution aaaaaaaaaaaa in"):
        runs.load(tmp_path, "a" * 12)
