"""``python -m steps.prepare``: the job's arguments and folders, mapped to one function."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from steps.contract import ProcessingPaths, run_step
from steps.prepare.config import PrepareConfig


def parse(arguments: Sequence[str] | None = None) -> PrepareConfig:
    """The job's configuration; a wrong argument ends the process with exit code 2."""
    defaults = PrepareConfig()
    parser = argparse.ArgumentParser(prog="steps.prepare", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--base-model", default=defaults.base_model, help="folder or name (default: %(default)s)")
    add("--max-length", type=int, default=defaults.max_length, help="tokens kept of a text")
    add("--validation-share", type=float, default=defaults.validation_share)
    add("--test-share", type=float, default=defaults.test_share)
    add("--seed", type=int, default=defaults.seed)
    add("--max-characters", type=int, default=defaults.max_characters)
    add("--min-examples", type=int, default=defaults.min_examples)
    add("--max-conflict-share", type=float, default=defaults.max_conflict_share)
    try:
        return PrepareConfig(**vars(parser.parse_args(arguments)))
    except ValueError as error:
        parser.error(str(error))


def main() -> None:
    config = parse()
    from steps.prepare.job import prepare  # after the arguments: usage errors need no pyarrow

    paths = ProcessingPaths()
    prepare(paths.input("raw"), paths.input("base-model"), paths.output("prepared"), config)


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
