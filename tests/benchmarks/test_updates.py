"""A few killed updates: the quick size of the benchmark."""

from __future__ import annotations

from benchmarks.updates import kill


def test_after_a_kill_one_good_version_serves() -> None:
    killing = kill(3, seed=1, say=lambda _: None)
    assert killing.wrong == []
    counted = killing.outcomes
    assert sum(count for what, count in counted.items() if what.startswith("killed")) == 3
    assert sum(count for what, count in counted.items() if what.startswith("then served at")) == 3
    assert counted["clients answered"] > 0
