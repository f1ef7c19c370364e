"""Tries a compiled model from a shell: ``python -m edge [--model FOLDER] UTTERANCE...``.

Prints one JSON object a line for each utterance. Without ``--model`` it takes the folder ``model``
beside the package, which is where the component's zip has it. Exit code 1 for a model or an
utterance that is refused, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edge.classifier import InputError, IntentClassifier, ModelError

BESIDE = Path(__file__).resolve().parent.parent / "model"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m edge", description="Classify utterances.")
    parser.add_argument("texts", metavar="UTTERANCE", nargs="+")
    parser.add_argument("--model", type=Path, default=BESIDE, help="the compiled model's folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--top-k", type=int, default=3)
    options = parser.parse_args(arguments)
    try:
        classifier = IntentClassifier.load(options.model, threads=options.threads)
        texts: list[str] = options.texts
        for text in texts:
            print(json.dumps(classifier.predict(text, options.top_k).to_json()), flush=True)
    except (ModelError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
