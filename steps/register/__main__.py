"""Runs the step in its container, or by hand for a model that was trained elsewhere.

In a job (``python -m steps.register [arguments]``) it reads the inputs ``model``, ``evaluation``
and ``prepared`` and writes the output ``registration``. By hand it is told the folders::

    python -m steps.register --model FOLDER [--evaluation FOLDER] [--prepared FOLDER]
        [--output FOLDER] --model-package-group NAME

where only the model is needed; steps/register/model_folder.py says what a model folder may be.
``SLM_REGISTRY`` chooses the registry (steps/registry).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from steps.contract import ProcessingPaths, run_step
from steps.register.config import RegisterConfig, RegisterPaths
from steps.registry import APPROVAL_STATUSES


def parse(arguments: list[str] | None = None) -> tuple[RegisterPaths, RegisterConfig]:
    """The arguments as folders and a config; a wrong one ends the process with exit code 2."""
    defaults = RegisterConfig()
    parser = argparse.ArgumentParser(prog="python -m steps.register", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model-package-group", default=defaults.model_package_group)
    parser.add_argument(
        "--approval-status", choices=APPROVAL_STATUSES, default=defaults.approval_status
    )
    parser.add_argument(
        "--model-data-url",
        default=defaults.model_data_url,
        help="s3://BUCKET/…/model.tar.gz: where the model lies, or is put if it is not there",
    )
    parser.add_argument(
        "--execution-id",
        default=defaults.execution_id,
        help="what the model came from; found out when left away",
    )
    parser.add_argument("--image", default=defaults.image, help="the image that loads the model")
    parser.add_argument(
        "--pooling",
        choices=("mean", "last"),
        default=defaults.pooling,
        help="of a model from elsewhere whose folder does not say it",
    )
    by_hand = parser.add_argument_group("by hand")
    for name in ("model", "evaluation", "prepared", "output"):
        by_hand.add_argument(f"--{name}", type=Path, metavar="FOLDER")
    given = vars(parser.parse_args(arguments))
    folders = {name: given.pop(name) for name in ("model", "evaluation", "prepared", "output")}
    if folders["model"] is None and any(folders.values()):
        parser.error("--evaluation, --prepared and --output go with --model FOLDER")
    return _paths(**folders), RegisterConfig(**given)


def _paths(
    model: Path | None, evaluation: Path | None, prepared: Path | None, output: Path | None
) -> RegisterPaths:
    if model is not None:
        return RegisterPaths(model, evaluation, prepared, output)
    job = ProcessingPaths()
    return RegisterPaths(
        job.input("model"),
        job.input("evaluation"),
        job.input("prepared"),
        job.output("registration"),
        job.root / "config" / "processingjobconfig.json",
    )


def main() -> None:
    """Map the container's folders, or those given by hand, to the step's function."""
    paths, config = parse()

    from steps.register.register import register

    registration = register(paths, config)
    print(json.dumps(registration, indent=2, sort_keys=True), flush=True)


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
