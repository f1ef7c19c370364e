"""What shipped with a component version: the counts of its test split, read when first needed.

``compile`` wrote it, ``slm fleet deploy`` put it at ``references/<component version>.json``. One
that is missing or damaged is stated in the report and compared with nothing; it fails nobody else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.telemetry.bins import EDGES
from edge.telemetry.window import FORMAT as WINDOW_FORMAT
from steps.compile.reference import FORMAT, REFERENCE
from steps.drift.aws import client, errors, split_address

MOST_BYTES = 4_194_304
BINNED = ("confidence", "energy", "tokens", "unknown")
"""The histograms that are compared: the others say how long the device took, or say it again."""


class UnusableError(Exception):
    """A version has no reference: a phrase that says why and what to do."""


@dataclass(frozen=True)
class Reference:
    """The test split of one model, counted as a device counts."""

    model_version: str
    utterances: int
    out_of_scope: int
    histograms: dict[str, NDArray[np.int64]]
    intents: dict[str, int]
    """Of every intent of the model, in alphabetical order; 0 for one that was never predicted."""

    @cached_property
    def positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.intents)}


class References:
    """Finds the reference of a component version, once each."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._found: dict[str, Reference | UnusableError] = {}

    def of(self, version: str) -> Reference:
        """The reference of component ``version``.

        Raises:
            UnusableError: There is none that can be used.
        """
        if version not in self._found:
            try:
                where, data = self._fetch(version)
                self._found[version] = parse(data, where)
            except UnusableError as error:
                self._found[version] = error
        found = self._found[version]
        if isinstance(found, UnusableError):
            raise found
        return found

    def _fetch(self, version: str) -> tuple[str, bytes]:
        name = f"{version}.json"
        if self._location.startswith("s3://"):
            bucket, prefix = split_address(self._location)
            return f"s3://{bucket}/{prefix}{name}", _object(bucket, prefix + name)
        path = Path(self._location)
        if path.is_dir():
            package = path / "package.json"
            path = path / (REFERENCE if package.is_file() and _is_of(package, version) else name)
        try:
            with path.open("rb") as file:
                return str(path), file.read(min(path.stat().st_size, MOST_BYTES) + 1)
        except OSError:
            raise UnusableError(_missing(str(path))) from None


def _is_of(package: Path, version: str) -> bool:
    try:
        return json.loads(package.read_bytes())["version"] == version
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _object(bucket: str, key: str) -> bytes:
    s3 = client("s3")
    with errors(f"read s3://{bucket}/{key}"):
        # a role that may list tells what is missing from what is forbidden
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if not any(entry["Key"] == key for entry in listed):
            raise UnusableError(_missing(f"s3://{bucket}/{key}"))
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read(MOST_BYTES + 1)


def _missing(where: str) -> str:
    return f"{where} is missing: slm fleet deploy puts it there with the version's package"


def parse(data: bytes, where: str) -> Reference:
    """Read ``reference.json``.

    Raises:
        UnusableError: It is not as *compile* writes it.
    """
    try:
        value: Any = json.loads(data)
        counts = value["counts"]
        if (value["format"], value["window_format"]) != (FORMAT, WINDOW_FORMAT):
            raise ValueError("its format is another one")
        histograms = {name: _histogram(value, name) for name in BINNED}
        named: dict[str, int] = {str(key): int(n) for key, n in counts["intents"].items()}
        intents = {name: named.get(name, 0) for name in sorted({*value["intents"], *named})}
        reference = Reference(
            str(value["model_version"]),
            int(value["utterances"]),
            int(counts["out_of_scope"]),
            histograms,
            intents,
        )
        inside = sum(intents.values()) + int(counts["other"])
        if min(reference.utterances, reference.out_of_scope, *named.values(), 0) < 0:
            raise ValueError("a count is negative")
        if inside + reference.out_of_scope != reference.utterances or not reference.utterances:
            raise ValueError("its intents do not add up")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableError(
            f"{where} is no reference as compile writes it ({error}): deploy the package again"
        ) from None
    return reference


def _histogram(value: Any, name: str) -> NDArray[np.int64]:
    if value["edges"][name] != list(EDGES[name]):
        raise ValueError(f"the bins of {name} are other ones")
    bins = np.array(value["counts"][name], dtype=np.int64)
    if bins.shape != (len(EDGES[name]),) or (bins < 0).any() or bins.sum() != value["utterances"]:
        raise ValueError(f"{name} does not add up")
    return bins
