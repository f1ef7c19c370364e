"""One utterance at a time on one thread: what ships, beside what people start with.

``python -m benchmarks.prediction`` takes the newest execution under ``.slm`` that compiled a model
(``--execution`` and ``--home`` name another), or three folders: ``--model`` (a model folder, or one
with ``model.tar.gz``), ``--compiled`` and ``--prepared``. In one process, in turn, from text to
intent:

- us: ``edge.classifier``, int8;
- PyTorch eager: the trained model, transformers' default attention;
- plain ONNX Runtime: the same model exported to float32 without fusions;
- scikit-learn: TF-IDF of words and pairs with a linear SVM, trained on the same rows.

They take turns in blocks of utterances: a device runs one model, whose weights stay in the
processor's caches, and a busy moment of the machine meets everybody. All but the last share one
tokenizer library, so that models are compared, not tokenizers. Exit code 1 if we are less than 7
times as fast as PyTorch eager or larger than 24 MB.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

TIMES_FASTER = 7.0
LARGEST_MB = 24.0
BLOCK = 50
"""Utterances that one asks before it is the next one's turn."""
WARM_UP = 10
"""Of those, asked once before they are timed."""


@dataclass
class Contender:
    """A way from text to intent, and what it took."""

    name: str
    answer: Callable[[str], str]
    megabytes: float
    milliseconds: list[float] = field(default_factory=list)
    right: int = 0


def ours(compiled: Path) -> Contender:
    from edge.classifier import IntentClassifier

    classifier = IntentClassifier.load(compiled)
    size = (compiled / "model.onnx").stat().st_size / 1e6
    # the candidate, not the decision: the peers do not reject either
    return Contender("us: int8 (edge.classifier)", lambda t: classifier.predict(t).top[0][0], size)


def eager(model: Any, tokenizer: Any, intents: list[str], size: float) -> Contender:
    import torch

    def answer(text: str) -> str:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            return intents[int(model(ids, torch.ones_like(ids)).argmax())]

    return Contender("PyTorch eager, float32", answer, size)


def plain_onnx(path: Path, tokenizer: Any, intents: list[str]) -> Contender:
    import numpy as np
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def answer(text: str) -> str:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        return intents[int(np.asarray(session.run(["logits"], given)[0]).argmax())]

    return Contender("ONNX Runtime, float32, unfused", answer, path.stat().st_size / 1e6)


def tfidf(rows: list[dict[str, Any]]) -> Contender:
    import pickle

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pipeline = make_pipeline(words, LinearSVC(random_state=0))
    kept = [row for row in rows if row["label"] >= 0]
    pipeline.fit([row["text"] for row in kept], [row["intent"] for row in kept])
    size = len(pickle.dumps(pipeline)) / 1e6
    return Contender("scikit-learn TF-IDF + SVM", lambda t: str(pipeline.predict([t])[0]), size)


def contenders(folders: Folders, scratch: Path) -> list[Contender]:
    """Everybody, loaded; the graph of the plain runtime is written to ``scratch``."""
    import torch

    from steps.archive import model_folder
    from steps.compile.export import export_plain
    from steps.intent_model import load, load_tokenizer

    torch.set_num_threads(1)
    source = model_folder(folders.model, scratch / "model")
    tokenizer = load_tokenizer(source)
    tokenizer.no_padding()
    exported, rule = load(source)
    tokenizer.enable_truncation(rule.max_length)
    plain = scratch / "plain.onnx"
    export_plain(exported, plain)  # changes the attention: PyTorch gets a model of its own
    weights = sum(p.stat().st_size for p in (source / "encoder").glob("*.safetensors")) / 1e6
    return [
        ours(folders.compiled),
        eager(load(source)[0], tokenizer, rule.intents, weights),
        plain_onnx(plain, tokenizer, rule.intents),
        tfidf(_rows(folders.prepared / "train.parquet")),
    ]


def measure(runners: list[Contender], rows: list[dict[str, Any]]) -> None:
    """Ask everybody in turn about every block of rows; another one begins each time."""
    for turn, start in enumerate(range(0, len(rows), BLOCK)):
        block = rows[start : start + BLOCK]
        first = turn % len(runners)
        for runner in runners[first:] + runners[:first]:
            for row in block[:WARM_UP]:
                runner.answer(row["text"])
            for row in block:
                began = time.perf_counter()
                intent = runner.answer(row["text"])
                runner.milliseconds.append((time.perf_counter() - began) * 1000)
                runner.right += intent == row["intent"]


def table(runners: list[Contender]) -> str:
    """Medians, 99th percentiles, and how many times as long as ours."""
    mine = median(runners[0])
    lines = [
        f"{'one utterance, one thread':32} {'median ms':>9} {'p99 ms':>8} {'times us':>8}"
        f" {'MB':>6} {'accuracy':>8}"
    ]
    for runner in runners:
        lines.append(
            f"{runner.name:32} {median(runner):9.3f} {percentile(runner, 99):8.3f}"
            f" {median(runner) / mine:8.1f} {runner.megabytes:6.1f} {accuracy(runner):8.3f}"
        )
    return "\n".join(lines)


def percentile(runner: Contender, share: int) -> float:
    """Milliseconds that ``share`` percent of its answers took at most."""
    ordered = sorted(runner.milliseconds)
    return ordered[min(len(ordered) * share // 100, len(ordered) - 1)]


def median(runner: Contender) -> float:
    """Milliseconds."""
    return percentile(runner, 50)


def accuracy(runner: Contender) -> float:
    """Of the utterances that were timed."""
    return runner.right / len(runner.milliseconds)


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["text", "intent", "label"]).to_pylist()


class Folders(NamedTuple):
    """What is measured."""

    model: Path
    compiled: Path
    prepared: Path
    package: Path | None
    """Where an execution went that far."""


def add_folders(parser: argparse.ArgumentParser) -> None:
    """The arguments that name an execution, or the folders themselves."""
    parser.add_argument("--execution", help="its id; the newest when left away")
    parser.add_argument("--home", type=Path, default=Path(".slm"))
    for name in Folders._fields:
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER")


def find_folders(given: argparse.Namespace) -> Folders:
    """The folders that the arguments name, the others from the execution."""
    named = {name: getattr(given, name) for name in Folders._fields}
    if all(named[name] for name in ("model", "compiled", "prepared")):
        return Folders(**named)
    if any(named.values()):
        sys.exit("error: --model, --compiled and --prepared go together.")
    from pipeline.local import open_storage, runs
    from pipeline.local.storage import FolderStorage
    from pipeline.results import output_folder

    names = [given.execution] if given.execution else []
    found = [runs.load(given.home, name) for name in names] or runs.list_executions(given.home)
    for execution in found:
        compiled = output_folder(given.home, execution, "compiled")
        prepared = output_folder(given.home, execution, "prepared")
        package = output_folder(given.home, execution, "package")
        storage = open_storage(given.home, execution.endpoint_url)
        for step in execution.steps.values():
            uri = (step.outputs.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
            if uri and compiled and prepared and isinstance(storage, FolderStorage):
                return Folders(storage.path(uri).parent, compiled, prepared, package)
    sys.exit(f"error: no execution in {given.home} has compiled a model: run slm run first.")


def test_rows(prepared: Path, count: int | None) -> list[dict[str, Any]]:
    """Utterances of the test split that have an intent, in a seeded order, ``count`` at most."""
    rows = [row for row in _rows(prepared / "test.parquet") if row["label"] >= 0]
    random.Random(0).shuffle(rows)  # noqa: S311 - a sample, no secret
    return rows[:count]


def main() -> int:
    """Measure, print the table, and say whether what must hold does."""
    parser = argparse.ArgumentParser(prog="benchmarks.prediction", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_folders(parser)
    parser.add_argument("--utterances", type=int, default=500)
    given = parser.parse_args()
    folders = find_folders(given)
    with tempfile.TemporaryDirectory() as scratch:
        runners = contenders(folders, Path(scratch))
        measure(runners, test_rows(folders.prepared, given.utterances))
    print(table(runners))
    ratio, size = median(runners[1]) / median(runners[0]), runners[0].megabytes
    holds = ratio >= TIMES_FASTER and size <= LARGEST_MB
    print(
        f"{'holds' if holds else 'MISSED'}: {ratio:.1f} times PyTorch eager (at least "
        f"{TIMES_FASTER:.0f}), {size:.1f} MB (at most {LARGEST_MB:.0f})"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
