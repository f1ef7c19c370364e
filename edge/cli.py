"""What a device engineer types: ``slm-edge COMMAND``, or ``python -m edge COMMAND``.

::

    predict    an utterance's intent, once, without a service
    serve      answer requests: one model's folder, or the installed versions of a state root
    install    check a package and make it the next version     ┐
    rollback   back to the version before                       │ edge.updates.commands
    status     what serves, what waits, what was refused        │
    verify     only check a package                             ┘

Exit code 1 for what is refused, in one sentence; 2 for wrong usage. A command imports what it
needs when it runs: the supervisor of ``serve --root`` stays a small process.

What it leaves out: every command's work. A package of commands has ``add(subparsers)``, which gives
each of its parsers a default ``run``: a function of the options that returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from edge.errors import EdgeError, InputError

BESIDE = Path(__file__).resolve().parent.parent / "model"
"""Where the component's zip has the model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code.
    """
    options = build_parser().parse_args(arguments)
    run = cast("Callable[[argparse.Namespace], int]", options.run)
    try:
        return run(options)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="slm-edge", description="Intent classification on this device."
    )
    commands: Any = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_predict(commands)
    _add_serve(commands)
    # a folder with the classifier alone has no updates
    if find_spec("edge.updates") and find_spec("edge.updates.commands"):
        from edge.updates import commands as updates

        updates.add(commands)
    return parser


def _add_predict(commands: Any) -> None:
    parser = commands.add_parser("predict", help="classify utterances, once")
    parser.add_argument("texts", metavar="UTTERANCE", nargs="*", help="or one a line on stdin")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", type=Path, help="a compiled model's folder; default: the one here")
    what.add_argument("--root", type=Path, help="the model that serves in a state root")
    parser.add_argument("--threads", type=int, default=1, help="of one prediction; default: 1")
    parser.add_argument("--top-k", type=int, default=3, help="candidates at most; default: 3")
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    """One JSON object a line for each utterance."""
    import json

    from edge.classifier import IntentClassifier

    model = _serving(options.root) if options.root else options.model or BESIDE
    classifier = IntentClassifier.load(model, threads=options.threads)
    texts: Iterable[str] = options.texts or _lines()
    for text in texts:
        print(json.dumps(classifier.predict(text, options.top_k).to_json()), flush=True)
    return 0


def _serving(root: Path) -> Path:
    """The model of the version that serves in a state root."""
    from edge.updates.errors import UpdateError
    from edge.updates.state import Root

    version = Root(root).read().serving
    if version is None:
        raise UpdateError(f"Nothing is installed in {root}: name another --root, or a --model.")
    return Root(root).folder(version) / "model"


def _lines() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"Line {number} of the input is not UTF-8.") from None
        if text.strip():
            yield text


def _add_serve(commands: Any) -> None:
    parser = commands.add_parser("serve", help="answer requests over HTTP")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", type=Path, default=BESIDE, help="serve one model's folder")
    what.add_argument("--root", type=Path, help="serve the installed version of a state root")
    parser.add_argument("--config", type=Path, help="default: /etc/slm-edge/config.toml")
    parser.add_argument("--listen", metavar="ADDRESS", help="instead of the configuration's")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    if options.root is not None:
        from edge.updates.supervisor import serve as supervise

        return supervise(options.root, config=options.config, listen=options.listen)
    from edge.service.serve import serve

    return serve(options.model, config=options.config, listen=options.listen)


if __name__ == "__main__":
    sys.exit(main())
