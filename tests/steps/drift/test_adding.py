from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.devices import Fleet, Outcomes, encode
from steps.drift.adding import Added, add_windows
from steps.drift.quarantine import Quarantine
from steps.drift.references import References
from steps.drift.sources import Item
from steps.drift.windows import Window
from tests.steps.drift.conftest import DAY, NOON, config

WriteReference = Callable[..., Path]


@pytest.fixture
def windows(outcomes: dict[str, Outcomes]) -> list[Window]:
    return Fleet(outcomes, 20, 40, np.random.default_rng(6)).windows(NOON)


@pytest.fixture
def add(
    tmp_path: Path, write_reference: WriteReference
) -> Callable[..., tuple[Added, dict[str, int]]]:
    references = write_reference(tmp_path / "references" / "1.0.7.json").parent

    def run(items: Any, **changes: Any) -> tuple[Added, dict[str, int]]:
        with Quarantine(tmp_path) as quarantine:
            given = config("", references, **changes)
            added = add_windows(items, References(str(references)), given, quarantine)
        lines = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").open()]
        assert len(lines) == quarantine.total
        return added, dict(quarantine.reasons)

    return run


def items(windows: list[Window], **changes: Any) -> list[Item]:
    return [
        Item(f"{window.id}.json", json.dumps({**encode(window), **changes}).encode())
        for window in windows
    ]


def total(added: Added) -> int:
    return sum(int(cell.rows[:, 0].sum()) for cell in added.cells.values())


def test_what_devices_counted_is_added_up_by_device_and_period(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    earlier = [replace(window, id=f"e-{window.id}", ended=NOON - DAY) for window in windows[:5]]
    added, reasons = add(items([*windows, *earlier]))
    assert reasons == {}
    starts = {start.isoformat() for _, start in added.cells}
    assert starts == {"2026-11-22T00:00:00+00:00", "2026-11-23T00:00:00+00:00"}
    assert total(added) == sum(window.utterances for window in [*windows, *earlier])
    cell = added.cells["1.0.7", NOON.replace(hour=0)]
    assert set(cell.devices) == {window.thing for window in windows}
    row = cell.rows[cell.devices[windows[0].thing]]
    mine = [window for window in windows if window.thing == windows[0].thing]
    assert row[1] == sum(window.out_of_scope for window in mine)


def test_a_window_that_arrives_again_is_counted_once(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    twice = [*items(windows), *items(windows)]
    random.Random(4).shuffle(twice)  # noqa: S311
    added, reasons = add(twice)
    assert (added.duplicates, reasons) == (len(windows), {})
    assert total(added) == sum(window.utterances for window in windows)


def test_a_window_that_was_cut_off_is_counted_when_it_comes_whole(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    whole = items(windows)
    cut = [Item(item.path, item.data[:100]) for item in whole]
    added, reasons = add([*cut, *whole])
    assert reasons == {"it is not JSON": len(windows)}
    assert total(added) == sum(window.utterances for window in windows)


def test_the_order_of_arrival_changes_nothing(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    straight, _ = add(items(windows))
    backwards, _ = add(items(windows[::-1]))
    one, other = (next(iter(added.cells.values())) for added in (straight, backwards))
    for thing, place in one.devices.items():
        assert (one.rows[place] == other.rows[other.devices[thing]]).all()


def test_other_periods_are_left_alone(windows: list[Window], add: Callable[..., Any]) -> None:
    """Of today, which is not over, and of a week ago."""
    others = [
        replace(windows[0], id="of-today-1", ended=NOON + DAY),
        replace(windows[0], id="last-week-1", ended=NOON - 7 * DAY),
    ]
    added, reasons = add(items(others))
    assert (added.outside, added.cells, reasons) == (2, {}, {})


def test_what_does_not_fit_its_reference_is_set_aside(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    strange = replace(windows[0], id="strange-1", intents={"no_such_intent": 9})
    strange = replace(strange, other=strange.utterances - strange.out_of_scope - 9)
    added, reasons = add([*items(windows[1:2], model="6"), *items([strange])])
    assert reasons == {
        "its model version is not that of its component version's reference": 1,
        "it names an intent that its model does not have": 1,
    }
    assert total(added) == 0


def test_a_version_without_a_reference_is_stated_and_not_counted(
    windows: list[Window], add: Callable[..., Any], tmp_path: Path, write_reference: WriteReference
) -> None:
    references = tmp_path / "references"
    (references / "1.0.9.json").write_text("{")
    write_reference(references / "1.0.10.json", utterances=1)
    found = [
        *items(windows[:2], component="1.0.8"),
        *items(windows[2:3], component="1.0.9"),
        *items(windows[3:4], component="1.0.10"),
    ]
    added, reasons = add(found)
    assert (added.cells, reasons) == ({}, {})
    assert dict(added.uncompared) == {"1.0.8": 2, "1.0.9": 1, "1.0.10": 1}
    assert "1.0.8.json is missing: slm fleet deploy puts it there" in added.unusable["1.0.8"]
    for version in ("1.0.9", "1.0.10"):
        assert "is no reference as compile writes it" in added.unusable[version]


def test_windows_with_too_few_utterances_are_remembered_as_such(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    added, reasons = add(items(windows[:3], utterances=4, counts=None))
    assert reasons == {}
    assert next(iter(added.cells.values())).untold == 12
    assert total(added) == 0


def test_memory_grows_with_devices_and_not_with_what_they_say(
    windows: list[Window], add: Callable[..., Any]
) -> None:
    """Four thousand windows of twenty devices, which are six megabytes of text."""

    def many(first: int, last: int) -> Iterator[Item]:
        for number in range(first, last):
            window = encode(windows[number % len(windows)]) | {"id": f"window-{number:08}"}
            yield Item("x.json", json.dumps(window).encode())

    add(many(0, 50))  # what is imported and cached at first use
    tracemalloc.start()
    try:
        added, reasons = add(many(0, 4_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (added.read, reasons) == (4_000, {})
    assert peak < 1_500_000
