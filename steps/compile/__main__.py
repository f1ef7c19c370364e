"""Runs the step in its container: ``python -m steps.compile [arguments]``.

Reads the inputs ``model``, ``prepared``, ``evaluation`` and ``registration`` and writes the output
``compiled``. A model that is not like the trained one is a result, not a failure: exit code 0 with
``parity.passed`` 0, see steps/compile/job.py. Neo is told where to work by ``SLM_NEO_ROLE`` and
``SLM_NEO_OUTPUT``.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from steps.contract import ProcessingPaths, run_step
from steps.publishing import publish


def share(text: str) -> float:
    """A share from 0 to 1, as an argument."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return value


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments; a wrong one ends the process with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m steps.compile", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--max-accuracy-drop", type=share, default=0.02)
    parser.add_argument("--min-agreement", type=share, default=0.95)
    parser.add_argument("--max-auroc-drop", type=share, default=0.01)
    parser.add_argument(
        "--max-early-exit-change",
        type=share,
        default=0.001,
        help="share of answers that may change so that clear utterances leave early; 0: none does",
    )
    parser.add_argument(
        "--neo-target", default="none", help="none, or Neo's name of a device, such as ml_c5"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Map the container's folders and arguments to the step's function."""
    given = parse()

    from steps.compile.config import CompileConfig, CompilePaths
    from steps.compile.job import compile_model
    from steps.compile.neo import NeoConfig
    from steps.compile.parity import Bounds

    job = ProcessingPaths()
    paths = CompilePaths(
        job.input("model"),
        job.input("prepared"),
        job.input("evaluation"),
        job.input("registration"),
        job.output("compiled"),
    )
    bounds = Bounds(given.max_accuracy_drop, given.min_agreement, given.max_auroc_drop)
    neo = NeoConfig(
        target=given.neo_target,
        role=os.environ.get("SLM_NEO_ROLE", ""),
        output=os.environ.get("SLM_NEO_OUTPUT", ""),
    )
    config = CompileConfig(bounds, neo, given.max_early_exit_change)
    publish(charted(compile_model(paths, config)))


def charted(record: dict[str, Any]) -> dict[str, float | None]:
    """The figure that CloudWatch charts over time."""
    return {"CompiledAgreement": record["parity"]["agreement"]}


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
