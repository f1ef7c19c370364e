"""The quick size of the mutated packages, and that it would see a wrong acceptance."""

from __future__ import annotations

import pytest

from benchmarks import mutations


def test_no_mutated_package_is_accepted_and_none_ends_in_anything_but_a_sentence() -> None:
    tally = mutations.mutate(150, seed=7)
    assert tally.wrong == []
    assert sum(tally.outcomes.values()) == 150
    assert {"SignatureError", "AlteredError", "UnsafeError", "UnreadableError"} <= set(
        tally.outcomes
    )


def test_a_judge_that_forgets_the_signature_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutations, "check", lambda *_: None)
    tally = mutations.mutate(60, seed=7)
    assert tally.outcomes["ACCEPTED"] > 0
    assert len(tally.wrong) >= tally.outcomes["ACCEPTED"]
