"""The check for drift, measured: how soon it sees what, how often it errs, and a million devices.

``python -m benchmarks.drift sweep``   detection delay against the size of a shift and of a fleet
``python -m benchmarks.drift calm``    alarms in 200 periods of one fleet, without a shift
``python -m benchmarks.drift scale``   windows of 10^6 devices through reading and adding up

Each stands beside PSI with its fixed rule (0.25 is "a major shift", for any number of utterances),
on the same groups of bins. Devices are simulated from outcomes of a real model (devices.py). The
sweep also draws docs/images/drift_delay.svg. It leaves out S3: windows lie in memory or in a file.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.devices import (
    Fleet,
    Outcomes,
    Shift,
    count,
    draw_reference,
    encode,
    read_outcomes,
)
from steps.drift import distance
from steps.drift.adding import Cell, add_windows
from steps.drift.checking import check, check_cell
from steps.drift.config import DriftConfig
from steps.drift.figures import FIGURES, completed, cut_down, figures_of, sample
from steps.drift.quarantine import Quarantine
from steps.drift.references import Reference, References
from steps.drift.sources import open_windows

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CONFIG = DriftConfig("", "", "benchmark", datetime(2026, 11, 24, 4, tzinfo=UTC))
ALPHA = distance.alpha(CONFIG.checks_per_quarter, len(FIGURES))
REFERENCE = 263
"""Utterances of the demo's test split."""
UTTERANCES = 30.0
"""Of a device in a day, in the mean."""
PSI_RULE = 0.25
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "drift_delay.svg"


@dataclass(frozen=True)
class Point:
    """One place of the sweep: how many periods pass until the first alarm after a shift."""

    kind: str
    reference: int
    """Utterances of the test split."""
    share: float
    devices: int
    delays: tuple[int, ...]
    """Of every try; ``periods`` + 1 where nothing was seen."""
    psi_delays: tuple[int, ...]
    false_alarms: float
    """Share of periods before the shift with an alarm."""
    psi_false_alarms: float


def psi(reference: Reference, cell: Cell) -> float:
    """The largest population stability index of all figures, on the groups of the check.

    A group without utterances would make it infinite: half an utterance stands for none.
    """
    rows, _ = cut_down(cell)
    most = 0.0
    for figure in figures_of(reference):
        counts = completed(sample(figure, rows), distance.smoothed(figure.reference))
        before, now = (np.maximum(c, 0.5) / np.maximum(c, 0.5).sum() for c in (
            figure.reference.astype(float), counts,
        ))  # fmt: skip
        most = max(most, float(((now - before) * np.log(now / before)).sum()))
    return most


def alarms(reference: Reference, cell: Cell) -> tuple[bool, bool]:
    """Whether the check and whether PSI's rule raise an alarm."""
    return (
        check_cell(cell, CONFIG, ALPHA)["status"] == "drift",
        psi(reference, cell) > PSI_RULE,
    )


def sweep_point(
    outcomes: dict[str, Outcomes],
    shift: Shift,
    devices: int,
    tries: int,
    periods: int,
    size: int = REFERENCE,
) -> Point:
    """A new fleet and a new reference each try; a calm period, then shifted ones."""
    delays: list[int] = []
    psi_delays: list[int] = []
    false = np.zeros(2)
    for number in range(tries):
        # a reference by try alone: what is drawn for its thresholds serves every point
        reference = draw_reference(outcomes["test"], np.random.default_rng(number), size)
        fleet = Fleet(outcomes, devices, UTTERANCES, np.random.default_rng((number, devices)))
        false += alarms(reference, count(reference, fleet.windows(NOON)))
        first = [periods + 1, periods + 1]
        for period in range(1, periods + 1):
            cell = count(reference, fleet.windows(NOON, shift=shift))
            for place, found in enumerate(alarms(reference, cell)):
                if found:
                    first[place] = min(first[place], period)
            if max(first) <= period:
                break
        delays.append(first[0])
        psi_delays.append(first[1])
    rates = (false / tries).tolist()
    return Point(shift.kind, size, shift.share, devices, tuple(delays), tuple(psi_delays), *rates)


def sweep(given: argparse.Namespace) -> None:
    """Every kind, share and fleet; prints a line each and draws the picture."""
    outcomes = read_outcomes()
    points: list[Point] = []
    print(f"alpha {ALPHA:.2e}; {given.tries} tries of {given.periods} periods each")
    print("kind   reference  share  devices  median delay   seen  false | PSI: delay   seen  false")
    for kind, _, size in (panel.partition(":") for panel in given.panels):
        for devices in given.devices:
            for share in given.shares:
                shift = Shift(share, kind)
                point = sweep_point(outcomes, shift, devices, given.tries, given.periods, int(size))
                points.append(point)
                print(_line(point, given.periods), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    if given.picture:
        draw(points, given.periods, given.picture)
        print(f"drawn: {given.picture}")


def _line(point: Point, periods: int) -> str:
    def told(delays: tuple[int, ...]) -> str:
        seen = sum(delay <= periods for delay in delays) / len(delays)
        middle = float(np.median(delays))
        return f"{f'{middle:g}' if middle <= periods else 'never':>11}  {seen:5.0%}"

    return (
        f"{point.kind:<6} {point.reference:9,}  {point.share:5.0%}  {point.devices:7,}  "
        f"{told(point.delays)}  {point.false_alarms:5.1%} | "
        f"{told(point.psi_delays)}  {point.psi_false_alarms:5.1%}"
    )


def draw(points: list[Point], periods: int, path: Path) -> None:
    """Mean delay against the share that shifts: a panel a kind, a line a fleet.

    A try in which nothing was seen counts as one period more than there were.
    """
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "slm-edge", "font.size": 10, "svg.fonttype": "none"})
    panels = list(dict.fromkeys((point.kind, point.reference) for point in points))
    fleets = sorted({point.devices for point in points})
    titles = {"new": "New requests", "typos": "Typos"}
    figure, axes = plt.subplots(
        2, len(panels), figsize=(3.9 * len(panels), 6.2), sharex=True, sharey="row", squeeze=False
    )
    colours = plt.get_cmap("viridis")(np.linspace(0.1, 0.75, len(fleets)))
    for row, (name, key) in enumerate((("this check", "delays"), ("PSI > 0.25", "psi_delays"))):
        for column, (kind, size) in enumerate(panels):
            panel = axes[row][column]
            for place, (colour, devices) in enumerate(zip(colours, fleets, strict=True)):
                key_of = (kind, size, devices)
                mine = [p for p in points if (p.kind, p.reference, p.devices) == key_of]
                mine.sort(key=lambda point: point.share)
                # a little apart, so that equal lines are seen
                shares = [100 * point.share + 0.35 * place for point in mine]
                days = [float(np.mean(getattr(point, key))) for point in mine]
                panel.plot(shares, days, "o-", ms=4, color=colour, label=f"{devices:,}")
            panel.axhline(periods + 1, color="0.7", lw=1, ls="--")
            ticks = [*range(1, periods + 1, 2), periods + 1]
            panel.set_yticks(ticks, [*map(str, ticks[:-1]), "not seen"])
            panel.set_ylim(0.5, periods + 1.8)
            panel.grid(color="0.92")
            panel.spines[["top", "right"]].set_visible(False)
            said = f"{titles.get(kind, kind)}, test split of {size:,}: {name}"
            panel.set_title(said, fontsize=9, loc="left")
            if row:
                panel.set_xlabel("share of utterances that shift, %")
        axes[row][0].set_ylabel("days until the first alarm (mean)")
    axes[0][-1].legend(title="devices", frameon=False, fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def calm(given: argparse.Namespace) -> None:
    """Periods without a shift: how many alarm."""
    outcomes = read_outcomes()
    found = np.zeros(2, int)
    for number in range(given.fleets):
        generator = np.random.default_rng(number)
        reference = draw_reference(outcomes["test"], generator, REFERENCE)
        fleet = Fleet(outcomes, given.devices, UTTERANCES, generator, given.similarity)
        mine = np.zeros(2, int)
        for _ in range(given.periods):
            mine += alarms(reference, count(reference, fleet.windows(NOON)))
        found += mine
        if given.fleets <= 20:
            print(f"fleet {number}: {mine[0]} alarms, PSI {mine[1]}", flush=True)
    periods = given.fleets * given.periods
    quarters = periods / CONFIG.checks_per_quarter
    print(
        f"{periods} periods of {given.devices} devices in {given.fleets} fleets without a shift: "
        f"{found[0]} alarms ({found[0] / quarters:.2f} a quarter), PSI > {PSI_RULE}: {found[1]}"
    )


def scale(given: argparse.Namespace) -> None:
    """A day of very many devices, a window each, in lines of files as a stream delivers them."""
    outcomes = read_outcomes()
    generator = np.random.default_rng(0)
    reference = draw_reference(outcomes["test"], generator, REFERENCE)
    with tempfile.TemporaryDirectory(prefix="slm-drift-") as name:
        folder = Path(name)
        written = _write(folder, outcomes, generator, given.devices)
        print(f"{given.devices:,} windows written, {written / 1e9:.2f} GB", flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, cpu = time.monotonic(), time.process_time()
        references = References("")
        references._found["1.0.7"] = reference
        with Quarantine(folder) as quarantine:
            windows = open_windows(str(folder / "windows"), NOON.date())
            added = add_windows(windows, references, CONFIG, quarantine)
        added_seconds, added_cpu = time.monotonic() - started, time.process_time() - cpu
        started, cpu = time.monotonic(), time.process_time()
        (version,) = check(added, CONFIG)
        seconds, checked_cpu = time.monotonic() - started, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"read and added up: {added_seconds:.0f} s ({added_cpu:.0f} s of one core), "
        f"{1e6 * added_cpu / given.devices:.0f} µs a window; {added.read:,} read, "
        f"{quarantine.total} in quarantine"
    )
    print(f"compared: {seconds:.1f} s ({checked_cpu:.1f} s of one core): {version['message']}")
    print(f"memory at its highest: {after / 1e6:.2f} GB, {before / 1e6:.2f} GB before reading")


def _write(
    folder: Path, outcomes: dict[str, Outcomes], generator: np.random.Generator, devices: int
) -> int:
    """Windows of ``devices`` devices in files of 10,000 lines; returns their bytes.

    A thousand devices are simulated; the others repeat them under names of their own.
    """
    some = Fleet(outcomes, 1000, UTTERANCES, generator).windows(NOON, size=10**6)
    texts = [json.dumps(encode(window), separators=(",", ":")) for window in some]
    place, written = folder / "windows" / "2026" / "11" / "23", 0
    place.mkdir(parents=True)
    for start in range(0, devices, 10_000):
        with (place / f"{start:09}.jsonl").open("w") as file:
            for line in _renamed(some, texts, start, min(start + 10_000, devices)):
                written += file.write(line)
    return written


def _renamed(some: list[Any], texts: list[str], first: int, last: int) -> Iterator[str]:
    for number in range(first, last):
        window, text = some[number % len(some)], texts[number % len(some)]
        text = text.replace(window.id, f"window-{number:010}", 1)
        yield text.replace(f'"{window.thing}"', f'"thing-{number:08}"', 1) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("sweep")
    one.add_argument(
        "--panels",
        nargs="+",
        default=["new:263", "typos:263", "new:5000"],
        help="KIND:UTTERANCES of the test split",
    )
    one.add_argument("--shares", nargs="+", type=float, default=[0.05, 0.1, 0.15, 0.2, 0.3, 0.4])
    one.add_argument("--devices", nargs="+", type=int, default=[20, 50, 200, 500])
    one.add_argument("--tries", type=int, default=6)
    one.add_argument("--periods", type=int, default=8)
    one.add_argument("--json", type=Path, help="also write the points")
    one.add_argument("--picture", type=Path, default=PICTURE)
    one.set_defaults(run=sweep)
    two = commands.add_parser("calm")
    two.add_argument("--fleets", type=int, default=1)
    two.add_argument("--devices", type=int, default=50)
    two.add_argument("--periods", type=int, default=200)
    two.add_argument("--similarity", type=float, default=30.0, help="of devices; inf: all alike")
    two.set_defaults(run=calm)
    three = commands.add_parser("scale")
    three.add_argument("--devices", type=int, default=1_000_000)
    three.set_defaults(run=scale)
    return parser.parse_args()


if __name__ == "__main__":
    told = parse()
    told.run(told)
