"""The wheels that the component carries: ``python -m steps.package.wheels FOLDER`` fetches them.

They go into ``FOLDER/x86_64`` and ``FOLDER/aarch64``, from the index that pip is configured for,
each checked against the hashes of ``edge/requirements.txt``. What is there already is kept, so that
an interrupted run goes on where it was and a finished one does nothing and says nothing. What it
leaves out: any Python but the declared one, and systems with another C library than glibc.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from steps.contract import StepError
from steps.package.config import PYTHON, requirements_file
from steps.package.recipe import ARCHITECTURES
from steps.package.requirements import Pin, read_pins

_GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_OLD_GLIBC = {"x86_64": ("manylinux_2_5", "manylinux1"), "aarch64": ()}
"""Older than 64-bit ARM. pip takes the number of a tag as it stands: each has to be named."""


def find_wheels(folder: Path, pins: tuple[Pin, ...]) -> dict[str, dict[str, Path]] | None:
    """The wheel of every distribution, by architecture and name; None where there are no wheels.

    Raises:
        StepError: The folder is there but lacks one.
    """
    if not folder.is_dir():
        return None
    found: dict[str, dict[str, Path]] = {}
    for architecture in ARCHITECTURES:
        there = _by_hash(folder / architecture)
        found[architecture] = {
            pin.name: there[digest] for pin in pins for digest in pin.hashes if digest in there
        }
        missing = [pin for pin in pins if pin.name not in found[architecture]]
        if missing:
            raise StepError(
                f"{folder} has no wheel of {missing[0].name} {missing[0].version} for "
                f"{architecture}: run python -m steps.package.wheels {folder}."
            )
    return found


def fetch(folder: Path, pins: tuple[Pin, ...]) -> int:
    """Bring ``folder`` up to date; returns how many wheels were fetched.

    Raises:
        StepError: pip could not get one, or got another file than was pinned.
    """
    wanted = list(_missing(folder, pins))
    for number, (architecture, pin) in enumerate(wanted, start=1):
        _say(f"{number} of {len(wanted)}: {pin.name} {pin.version} for {architecture}")
        _download(folder / architecture, architecture, pin)
    _remove_others(folder, pins)
    return len(wanted)


def _missing(folder: Path, pins: tuple[Pin, ...]) -> Iterator[tuple[str, Pin]]:
    for architecture in ARCHITECTURES:
        there = _by_hash(folder / architecture)
        yield from ((architecture, pin) for pin in pins if not pin.hashes & there.keys())


def _download(folder: Path, architecture: str, pin: Pin) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        (scratch / "pin.txt").write_text(pin.line)
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet"]
        command += ["--python-version", PYTHON, "--implementation", "cp"]
        for tag in (*_GLIBC, *_OLD_GLIBC[architecture]):
            command += ["--platform", f"{tag}_{architecture}"]
        command += ["--dest", str(scratch), "--requirement", str(scratch / "pin.txt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        got = list(scratch.glob("*.whl"))
        if done.returncode or not got:
            raise StepError(
                f"pip could not fetch {pin.name} {pin.version} for {architecture} "
                f"({_reason(done.stderr)}): check the network and the index that pip is set to."
            )
        got[0].replace(folder / got[0].name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reason(text: str) -> str:
    """pip's errors in one line; for a changed file the hash that it has."""
    lines = [line.strip() for line in text.splitlines()]
    said = [line for line in lines if line.startswith(("ERROR:", "Expected", "Got"))]
    return "; ".join(line.removeprefix("ERROR: ") for line in said)[:400] or "pip said nothing"


def _remove_others(folder: Path, pins: tuple[Pin, ...]) -> None:
    """Wheels of versions that are no longer wanted, and what a killed run left."""
    wanted = frozenset[str]().union(*(pin.hashes for pin in pins))
    for architecture in ARCHITECTURES:
        for digest, path in _by_hash(folder / architecture).items():
            if digest not in wanted:
                path.unlink(missing_ok=True)
        for path in (folder / architecture).glob(".partial-*"):
            shutil.rmtree(path, ignore_errors=True)


def _by_hash(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.whl")):
        with path.open("rb") as file:
            found[hashlib.file_digest(file, "sha256").hexdigest()] = path
    return found


def _say(what: str) -> None:
    print(f"wheels: {what}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Fetch; the exit code is 1 when something could not be had."""
    parser = argparse.ArgumentParser(prog="python -m steps.package.wheels")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="such as build/wheels")
    folder: Path = parser.parse_args(arguments).folder
    try:
        fetched = fetch(folder, read_pins(requirements_file()))
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if fetched:
        size = sum(path.stat().st_size for path in folder.glob("*/*.whl"))
        _say(f"{folder} is complete, {size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
