"""The load on a service of the tiny model, for a second or two; no figure is judged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.arrivals import send
from benchmarks.service import Questions, last, watching
from benchmarks.serving import Service

TEXTS = ["play some jazz", "lamp off", "will it rain tomorrow"]
PATIENT = {"deadline_seconds": 60}


@pytest.fixture
def service(tiny_compiled: Path, tmp_path: Path) -> Iterator[Service]:
    with Service(tiny_compiled, tmp_path, PATIENT) as started:
        yield started


@pytest.fixture
def questions(service: Service, tmp_path: Path) -> Questions:
    return Questions(service, TEXTS, tmp_path)


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk makes the load and is not installed")
def test_wrk_compares_every_answer(service: Service, questions: Questions, tmp_path: Path) -> None:
    load = questions.load(service.port, 4, 1)
    assert load.requests > 0
    assert (load.wrong, load.broken) == (0, 0)
    (tmp_path / "answers").write_text("another\n")
    load = questions.load(service.port, 1, 1)
    assert load.wrong >= load.requests > 0
    assert last(service, Questions(service, TEXTS, tmp_path), 20)[1] == 0


def test_arrivals_at_a_rate_are_answered(service: Service, questions: Questions) -> None:
    pairs = list(zip(questions.bodies, questions.answers, strict=True))
    seen = send(service.port, pairs, rate=100, seconds=1)
    assert seen.wrong == []
    assert seen.answered + seen.refused == len(seen.milliseconds) == 100


def test_another_answer_than_the_known_one_is_wrong(service: Service, questions: Questions) -> None:
    seen = send(service.port, [(questions.bodies[0], b"another")], rate=50, seconds=0.2)
    assert (seen.answered, len(seen.wrong)) == (0, 10)


def test_beyond_its_capacity_a_service_refuses_and_recovers(
    tiny_compiled: Path, tmp_path: Path
) -> None:
    limits = {"queue": 1, "deadline_seconds": 60}
    with Service(tiny_compiled, tmp_path, limits) as service, watching(service) as seen_memory:
        questions = Questions(service, TEXTS, tmp_path)
        pairs = list(zip(questions.bodies, questions.answers, strict=True))
        seen = send(service.port, pairs, rate=20_000, seconds=0.05)
        assert seen.wrong == []
        assert seen.refused > 0
        assert seen.answered > 0
        assert service.ask({"text": "lamp off"})[0] == 200
    assert len(seen_memory) >= 1


def test_a_service_that_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"did not start.*has no model\.onnx"):
        Service(tmp_path / "nothing", tmp_path)
