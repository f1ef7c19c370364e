"""The quick size of the malformed requests, and that it would see a wrong answer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import fuzz
from benchmarks.malformed import Malformed, Rule


def test_malformed_requests_are_answered_as_the_document_says(tiny_compiled: Path) -> None:
    seen = fuzz.fuzz(tiny_compiled, 400, seed=3, say=lambda _: None)
    assert seen.wrong == []
    kinds = {answer.partition(":")[0] for answer in seen.answers}
    assert kinds == {"bodies", "raw bytes", "schemathesis"}
    assert seen.answers["bodies: 200"] > 0
    assert seen.answers["bodies: 400"] > 0
    assert seen.answers["raw bytes: 400"] > 0


def test_an_answer_where_a_refusal_is_due_is_noticed(
    tiny_compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rule, "allows", lambda *_: False)
    monkeypatch.setattr(fuzz, "DERIVED", 10**9)
    seen = fuzz.fuzz(tiny_compiled, 60, seed=3, say=lambda _: None)
    assert len(seen.wrong) == seen.answers["bodies: 200"] > 0


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (b'{"text": "lamp off"}', True),
        (b'{"texts": ["lamp off"], "top_k": 3}', True),
        (b'{"text": " "}', False),
        (b'{"text": "\\ud800"}', False),
        (b'{"text": "a", "top_k": NaN}', False),
        (b'{"text": "' + b"a" * 2001 + b'"}', False),
        (b" " * 70_000, False),
        (b"[" * 50_000, False),
        (b"\xff", False),
    ],
)
def test_the_document_decides_which_bodies_are_right(body: bytes, allowed: bool) -> None:
    assert Rule().allows(body) is allowed


def test_a_seed_gives_the_same_requests_again() -> None:
    def made() -> list[bytes]:
        malformed = Malformed(random.Random(5))  # noqa: S311
        return [malformed.body() for _ in range(50)] + [malformed.raw() for _ in range(50)]

    assert made() == made()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (500, b"application/problem+json", b'{"status": 500}'),
        (400, b"application/json", b'{"status": 400}'),
        (400, b"application/problem+json", b'{"status": 413}'),
        (400, b"application/problem+json", b"oops"),
        (200, b"text/html", b"{}"),
    ],
)
def test_what_no_answer_may_be_is_a_fault(status: int, kind: bytes, body: bytes) -> None:
    assert fuzz._fault(status, {b"content-type": kind}, body)
