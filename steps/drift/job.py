"""The step as one function: read, add up, compare, write the report."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from steps.contract import write_json, write_text
from steps.drift import distance
from steps.drift.adding import Added, add_windows
from steps.drift.checking import DRIFT, check
from steps.drift.config import DriftConfig
from steps.drift.figures import FIGURES, MOST_TIMES_MEDIAN
from steps.drift.quarantine import Quarantine
from steps.drift.references import References
from steps.drift.report import render
from steps.drift.sources import open_windows

FORMAT = 1
DRIFT_FILE, REPORT_FILE = "drift.json", "drift.html"


def check_drift(config: DriftConfig, output: Path) -> dict[str, Any]:
    """Write the *drift* folder and return what stands in its ``drift.json``.

    Raises:
        StepError: Windows cannot be reached. One that is refused is set aside with its reason.
    """
    # a window of several hours may have ended in the first period and arrived in the next
    since = (config.complete_periods()[0] - timedelta(days=1)).date()
    with Quarantine(output) as quarantine:
        windows = open_windows(config.windows, since)
        added = add_windows(windows, References(config.references), config, quarantine)
    drift = summarize(added, quarantine, config)
    write_json(output / DRIFT_FILE, drift)
    write_text(output / REPORT_FILE, render(drift))
    return drift


def summarize(added: Added, quarantine: Quarantine, config: DriftConfig) -> dict[str, Any]:
    """What ``drift.json`` holds."""
    versions = check(added, config)
    newest = config.complete_periods()[-1]
    current = [
        period
        for version in versions
        for period in version["periods"]
        if period["start"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"
    ]
    over = sum(figure["status"] == DRIFT for period in current for figure in period["figures"])
    tests = len(FIGURES) * len(current)
    alpha = distance.alpha(config.checks_per_quarter, tests)
    return {
        "format": FORMAT,
        "component": config.component,
        "until": f"{config.until:%Y-%m-%dT%H:%M:%SZ}",
        "period_hours": config.period_hours,
        "found": over > 0,
        "figures_over": over,
        "utterances": sum(period["utterances"] for period in current),
        "message": _message(versions),
        "method": {
            "alpha": alpha,
            "draws": distance.draws(alpha),
            "checks_per_quarter": round(config.checks_per_quarter, 2),
            "tests_per_check": tests,
            "minimum_utterances": config.minimum_utterances,
            "minimum_devices": config.minimum_devices,
            "most_times_median": MOST_TIMES_MEDIAN,
        },
        "windows": {
            "read": added.read,
            "counted": sum(cell.windows for cell in added.cells.values()),
            "duplicates": added.duplicates,
            "other_periods": added.outside,
            "without_reference": added.uncompared.total(),
            "quarantined": quarantine.total,
            "quarantine": dict(quarantine.reasons.most_common()),
        },
        "versions": versions,
        "fleet": added.fleet.summary({version for version, _ in added.cells}),
    }


def _message(versions: list[dict[str, Any]]) -> str:
    if not versions:
        return "no windows of the periods that are looked at"
    return "; ".join(f"{one['version']}: {one['status']}, {one['message']}" for one in versions)
