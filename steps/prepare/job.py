"""The step as one function over folders: read, clean, resolve, validate, split, tokenize, write.

Everything is written into a hidden folder inside the output and renamed into place at the end;
a job that fails leaves nothing but, where the data itself did not pass, its quarantine,
validation and data docs. The same input gives the same Parquet files, byte by byte, whatever
the order of its files.
"""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from steps.base_model import find_base_model
from steps.contract import OUT_OF_SCOPE, StepError, write_json
from steps.prepare import resolving
from steps.prepare.buckets import DIGEST_BYTES, Buckets, buckets_for
from steps.prepare.cleaning import SPLITS
from steps.prepare.config import PrepareConfig
from steps.prepare.quarantine import Quarantine, open_quarantine
from steps.prepare.reading import find_files
from steps.prepare.regression import check_intents, digests_of, read_regression_set
from steps.prepare.scanning import Progress, Scan, scan
from steps.prepare.splitting import Splitter, Thresholds, draw
from steps.prepare.tokenizing import TextTokenizer, load_tokenizer
from steps.prepare.validation import CRITICAL, SAMPLE_ROWS, DataProfile, Failure, validate
from steps.prepare.writing import open_splits
from steps.regression.cases import NAME as REGRESSION
from steps.regression.cases import Case, write_cases

_PARTIAL = ".partial"
_JUDGEMENT = ("quarantine.parquet", "validation.json", "data_docs")
"""What a job leaves whose data did not pass."""
_BATCH = 16_384  # rows tokenized at a time
_PARQUET_EXPANSION = 4  # Parquet's bytes, unpacked, about

_SURVIVORS = pa.schema(
    [
        ("digest", pa.binary(DIGEST_BYTES)),
        ("text", pa.string()),
        ("intent", pa.string()),
        ("published", pa.int8()),
        ("locale", pa.string()),
        ("number", pa.int64()),
    ]
)


def prepare(raw: Path, channel: Path | None, out: Path, config: PrepareConfig) -> None:
    """Prepare the data in ``raw`` and leave the *prepared* folder in ``out``.

    Args:
        raw: A folder of JSON Lines, CSV and Parquet files.
        channel: Where the base model would be mounted, if it were.
        out: An existing folder.

    Raises:
        StepError: The data or the base model cannot be used; the message says why.
    """
    files = find_files(raw)
    cases = read_regression_set(raw, config.max_characters)
    base_model = find_base_model(config.base_model, channel, weights=False)
    tokenizer = load_tokenizer(base_model, config.max_length)
    partial = out / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)  # of a job that was killed
    (out / REGRESSION).unlink(missing_ok=True)  # of a job on data that had one
    try:
        (partial / "out").mkdir(parents=True)
        names = {path.relative_to(raw).as_posix(): path for path in files}
        _prepare(names, cases, partial, out, tokenizer, config)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _prepare(
    files: dict[str, Path],
    cases: list[Case],
    partial: Path,
    out: Path,
    tokenizer: TextTokenizer,
    config: PrepareConfig,
) -> None:
    results = partial / "out"
    survivors = partial / "survivors.arrow"
    with open_quarantine(results / "quarantine.parquet") as quarantine:
        size = sum(
            path.stat().st_size * (_PARQUET_EXPANSION if path.suffix == ".parquet" else 1)
            for path in files.values()
        )
        buckets = Buckets(partial / "buckets", resolving.CLEANED, buckets_for(size))
        with buckets:
            found = scan(files, config, buckets, quarantine, digests_of(cases))
        thresholds = Thresholds.of(config.test_share, config.validation_share, found.published)
        splitter, sample = Splitter(thresholds), _Sample(config.seed)
        _resolve(buckets, list(files), quarantine, survivors, splitter, sample, config)
    _account(found.rows, sum(splitter.rows.values()), quarantine.rows)
    profile = _profile(found, splitter, quarantine, sample)
    failures = validate(profile, config, partial / "great_expectations", results)
    critical = [failure for failure in failures if failure.severity == CRITICAL]
    if critical:
        _publish(results, out, _JUDGEMENT)
        raise StepError(_sentence(critical, profile, config))
    for failure in failures:
        print(f"warning: {failure}", flush=True)
    check_intents(cases, profile.examples)
    if cases:
        write_cases(results / REGRESSION, cases)
    splitter.settle()
    _write(survivors, results, splitter, tokenizer, found, profile, config)
    _publish(results, out, sorted(path.name for path in results.iterdir()))


def _resolve(
    buckets: Buckets,
    files: Sequence[str],
    quarantine: Quarantine,
    survivors: Path,
    splitter: Splitter,
    sample: _Sample,
    config: PrepareConfig,
) -> None:
    """Second pass: settle duplicates bucket by bucket, and learn what splitting needs to know."""
    with survivors.open("wb") as file, pa.ipc.new_stream(file, _SURVIVORS) as stream:
        for index in range(len(buckets)):
            kept = resolving.resolve(buckets, index, files, quarantine)
            buckets.drop(index)
            rows: list[tuple[Any, ...]] = []
            for digest, text, intent, published, locale, _, _ in kept:
                number = draw(digest, config.seed)
                splitter.see(digest, intent, published, number)
                sample.offer(digest, text, intent)
                rows.append((digest, text, intent, published, locale, number))
            for start in range(0, len(rows), _BATCH):
                columns = zip(*rows[start : start + _BATCH], strict=True)
                kinds = _SURVIVORS.types
                arrays = [pa.array(c, kind) for c, kind in zip(columns, kinds, strict=True)]
                stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_SURVIVORS))


def _write(
    survivors: Path,
    results: Path,
    splitter: Splitter,
    tokenizer: TextTokenizer,
    found: Scan,
    profile: DataProfile,
    config: PrepareConfig,
) -> None:
    """Third pass: split, tokenize and write, with the files that describe the result."""
    intents = sorted(name for name in splitter.examples if name != OUT_OF_SCOPE)
    progress, done = Progress("tokenized"), 0
    with open_splits(results, intents, tokenizer) as splits:
        for batch, ids, lengths in _tokenized(survivors, tokenizer):
            assigned = splitter.assign(
                batch.column("digest").to_pylist(),
                batch.column("published").to_numpy(),
                batch.column("number").to_numpy(),
            )
            splits.add(batch, assigned, ids, lengths)
            done += batch.num_rows
            progress.reached(done)
    rows = {split: splits.statistics[split].rows for split in SPLITS}
    _account(found.rows, sum(rows.values()), sum(profile.reasons.values()))
    train = splits.statistics["train"]
    write_json(results / "intents.json", {"intents": intents})
    write_json(
        results / "statistics.json",
        {
            "dataset_sha256": splits.dataset_sha256,
            "base_model": config.base_model,
            "tokenizer_sha256": tokenizer.sha256,
            "max_length": config.max_length,
            "pad_id": tokenizer.pad_id,
            "vocabulary_size": tokenizer.vocabulary_size,
            "seed": config.seed,
            "rows": rows,
            "rows_in": found.rows,
            "quarantined": dict(sorted(profile.reasons.items())),
            "published_splits": [s for s in SPLITS if resolving.SPLIT_CODES[s] in found.published],
            "lent_rows": len(splitter.lent),
            "reference": "train",
            "splits": {split: splits.statistics[split].to_json() for split in SPLITS},
            "unseen_token_rate": {
                split: splits.statistics[split].unseen_rate(train) for split in SPLITS[1:]
            },
        },
    )
    told = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    refused = ", ".join(f"{count:,} {name}" for name, count in sorted(profile.reasons.items()))
    print(f"prepared {found.rows:,} rows: {told}; quarantined: {refused or 'none'}", flush=True)


def _tokenized(survivors: Path, tokenizer: TextTokenizer) -> Iterator[tuple[Any, Any, Any]]:
    """Batches with their ids; while one is written, the next is being tokenized."""
    with (
        survivors.open("rb") as file,
        pa.ipc.open_stream(file) as stream,
        ThreadPoolExecutor(max_workers=1) as ahead,
    ):
        waiting: tuple[Any, Any] | None = None
        for batch in stream:
            coming = ahead.submit(tokenizer.encode, batch.column("text").to_pylist())
            if waiting is not None:
                yield waiting[0], *waiting[1].result()
            waiting = batch, coming
        if waiting is not None:
            yield waiting[0], *waiting[1].result()


class _Sample:
    """A uniform sample of at most SAMPLE_ROWS rows: those whose hash, under the seed, is least."""

    def __init__(self, seed: int) -> None:
        self._mask = draw(b"sample", seed)
        self._heap: list[tuple[int, str, str]] = []  # the greatest hash on top

    def offer(self, digest: bytes, text: str, intent: str) -> None:
        # the digest's second half: its first half is the order of the rows
        value = -((int.from_bytes(digest[8:], "big") >> 1) ^ self._mask)
        if len(self._heap) < SAMPLE_ROWS:
            heapq.heappush(self._heap, (value, text, intent))
        elif value > self._heap[0][0]:
            heapq.heapreplace(self._heap, (value, text, intent))

    def rows(self) -> list[tuple[str, str]]:
        return [(text, intent) for _, text, intent in sorted(self._heap, reverse=True)]


def _profile(
    found: Scan, splitter: Splitter, quarantine: Quarantine, sample: _Sample
) -> DataProfile:
    reasons = dict(quarantine.reasons)
    return DataProfile(
        sample=sample.rows(),
        examples=splitter.examples,
        rows=splitter.rows,
        rows_in=found.rows,
        reasons=reasons,
        refused=sum(n for name, n in reasons.items() if name not in resolving.REPEATS),
        conflicting=reasons.get(resolving.CONFLICTING_LABELS, 0),
    )


def _account(rows_in: int, kept: int, quarantined: int) -> None:
    if rows_in != kept + quarantined:
        raise RuntimeError(f"{rows_in} rows came in, {kept} + {quarantined} went out")


def _publish(results: Path, out: Path, names: Sequence[str]) -> None:
    for name in names:
        target = out / name
        if target.is_dir():
            shutil.rmtree(target)
        (results / name).replace(target)


def _sentence(critical: list[Failure], profile: DataProfile, config: PrepareConfig) -> str:
    """What stands in the way, the cause before its consequences."""
    by_column = {failure.column: failure for failure in critical}
    for column, explain in _EXPLANATIONS.items():
        if column in by_column:
            failure = by_column[column]
            return (
                f"{explain(profile, config)} (expectation {failure.expectation} on {column!r} "
                "failed; quarantine.parquet and validation.json are in the output)."
            )
    return f"The data does not pass: {critical[0]}; see data_docs in the output, mend the data."


def _explain_conflicts(profile: DataProfile, config: PrepareConfig) -> str:
    return (
        f"{profile.conflicting:,} of {profile.rows_in:,} rows "
        f"({profile.conflicting / profile.rows_in:.1%}) have a text that also stands with another "
        f"intent, more than --max-conflict-share {config.max_conflict_share:g} allows: settle "
        f"which intent is right"
    )


def _explain_refused(profile: DataProfile, config: PrepareConfig) -> str:
    reasons = ", ".join(f"{n:,} {name}" for name, n in sorted(profile.reasons.items()))
    return (
        f"{profile.refused:,} of {profile.rows_in:,} rows cannot be used ({reasons}): mend the data"
    )


def _explain_rows(profile: DataProfile, config: PrepareConfig) -> str:
    return "The data has no rows: put utterances with their intents in it"


def _explain_intents(profile: DataProfile, config: PrepareConfig) -> str:
    names = [name for name in profile.examples if name != OUT_OF_SCOPE]
    has = f"one intent only, {names[0]!r}" if names else f"no intent besides {OUT_OF_SCOPE}"
    return f"The data has {has}: add utterances of another intent, a classifier needs two"


def _explain_examples(profile: DataProfile, config: PrepareConfig) -> str:
    few = sorted(
        (count, name)
        for name, count in profile.examples.items()
        if count < config.min_examples and name != OUT_OF_SCOPE
    )
    count, name = few[0]
    others = f", and {len(few) - 1:,} more intents have too few" if len(few) > 1 else ""
    examples = "example" if count == 1 else "examples"
    return (
        f"The intent {name!r} has {count} {examples} to learn from and needs "
        f"{config.min_examples}{others}: add examples, lower --min-examples or take it out"
    )


_EXPLANATIONS = {
    "conflict_share": _explain_conflicts,
    "refused_share": _explain_refused,
    "rows": _explain_rows,
    "intents": _explain_intents,
    "examples": _explain_examples,
}
