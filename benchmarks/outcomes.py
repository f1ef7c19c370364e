"""What the demo's compiled model answers to its test split, for ``benchmarks/outcomes.csv``.

``python -m benchmarks.outcomes --home .slm`` asks the newest execution's model every utterance of
its test split, as written, with typos and misheard, and writes a row for each: what was meant, what
was answered, and the figures that a device counts. It leaves out the text.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.devices import COLUMNS, OUTCOMES
from edge.classifier import IntentClassifier
from edge.cleaning import clean
from pipeline.results import find_output
from steps.evaluate.robustness import perturbed

SLIPS = ("typos", "misheard")


def write(compiled: Path, prepared: Path, path: Path) -> int:
    """Write the outcomes to ``path``; returns how many."""
    classifier = IntentClassifier.load(compiled)
    table = pq.read_table(prepared / "test.parquet", columns=["text", "intent"])
    texts, labels = table["text"].to_pylist(), table["intent"].to_pylist()
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for source, said in {"test": texts, **{s: perturbed(s, texts, 0) for s in SLIPS}}.items():
            for text, label in zip(said, labels, strict=True):
                answer = classifier.predict(text, 1)
                figures = (
                    source, label, answer.intent, f"{answer.confidence:.5f}",
                    f"{answer.energy:.4f}", len(clean(text)), answer.tokens, answer.unknown_tokens,
                )  # fmt: skip
                rows.writerow(dict(zip(COLUMNS, figures, strict=True)))
                written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outcomes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--home", type=Path, default=Path(".slm"))
    parser.add_argument("--out", type=Path, default=OUTCOMES)
    given = parser.parse_args()
    compiled, prepared = (find_output(given.home, name) for name in ("compiled", "prepared"))
    print(f"{write(compiled, prepared, given.out):,} outcomes in {given.out}")


if __name__ == "__main__":
    main()
