"""Runs the check in its container: ``python -m steps.drift [arguments]``.

Reads the devices' windows and the references of their versions where ``--windows`` and
``--references`` say, by itself: of all windows it needs the last days' only, which no input of a
Processing job can name. Writes the output ``drift``: ``drift.json``, ``drift.html`` and
``quarantine.jsonl``. In an account it also puts metrics and, where there is drift, an event; drift
is a result, and the exit code stays 0.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from steps import logs
from steps.contract import ProcessingPaths, StepError, run_step


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments; a wrong one ends the process with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m steps.drift", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--windows", required=True, help="a folder, or s3://BUCKET/PREFIX")
    parser.add_argument(
        "--references", required=True, help="a folder, a package, a file, or s3://BUCKET/PREFIX"
    )
    parser.add_argument("--component", default="slm.edge.IntentModel")
    parser.add_argument(
        "--until", default="now", help="the time of the check, ISO 8601; now unless told"
    )
    parser.add_argument("--period-hours", type=int, default=24)
    parser.add_argument("--periods", type=int, default=3, help="complete ones that are looked at")
    parser.add_argument("--min-utterances", type=int, default=200)
    parser.add_argument("--min-devices", type=int, default=5)
    return parser.parse_args(arguments)


def main() -> None:
    """Map the container's folder and arguments to the step's function."""
    given = parse()

    from steps.drift.aws import in_account
    from steps.drift.config import DriftConfig, parse_time
    from steps.drift.job import check_drift
    from steps.drift.telling import Teller

    try:
        until = datetime.now(UTC) if given.until == "now" else parse_time(given.until)
    except ValueError:
        raise StepError(
            f"--until {given.until} is no time: write one as 2026-11-24T04:00:00Z, or now."
        ) from None
    config = DriftConfig(
        windows=given.windows,
        references=given.references,
        component=given.component,
        until=until,
        period_hours=given.period_hours,
        periods=given.periods,
        minimum_utterances=given.min_utterances,
        minimum_devices=given.min_devices,
    )
    teller = Teller.of() if in_account() else None
    drift = check_drift(config, ProcessingPaths().output("drift"))
    told = teller.tell(drift) if teller else 0
    windows = drift["windows"]
    print(
        f"drift: {windows['counted']:,} windows counted, {windows['duplicates']:,} twice, "
        f"{windows['quarantined']:,} in quarantine",
        flush=True,
    )
    print(f"drift: {drift['message']}", flush=True)
    for version in drift["fleet"]["versions"]:
        logs.event("fleet", **version)  # the dashboard's table of versions
    if told:
        print(f"drift: {told} events put", flush=True)


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
