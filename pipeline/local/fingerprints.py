"""What identifies content: SHA-256 of files, remembered between runs, and of a step's code."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import cast

from pipeline.local.files import write_json

_SHARED_CODE = {"steps": ("steps/registry", "edge")}
"""Folders that the modules of a package lean on beside their own and the package's top level."""
_REQUIREMENTS = "requirements*.txt"
_MOST_FILES = 1000


class FileHashes:
    """SHA-256 of files, computed once per path, size and times; safe to use from threads.

    Two runs may write the memory at once: the last one wins, and what is lost is only time.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[str]] = {}
        self._used: dict[str, list[str]] = {}
        self._guard = threading.Lock()
        with suppress(OSError, ValueError):
            loaded: object = json.loads(memory.read_text(encoding="utf-8"))
            if isinstance(loaded, dict):
                self._known = cast("dict[str, list[str]]", loaded)

    def sha256(self, file: Path) -> str:
        """The digest of a file's content, in hexadecimal."""
        status = file.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
        key = str(file.absolute())
        with self._guard:
            known = self._known.get(key)
        if known is None or known[0] != stamp:
            with file.open("rb") as content:
                known = [stamp, hashlib.file_digest(content, "sha256").hexdigest()]
        with self._guard:
            self._known[key] = self._used[key] = known
        return known[1]

    def save(self) -> None:
        """Keep what is known for the next run; files that are gone are forgotten."""
        with self._guard:
            kept = {k: v for k, v in self._known.items() if k in self._used or Path(k).exists()}
        with suppress(OSError):  # a full disk costs time in the next run, nothing else
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._memory, kept)


def digest(value: object) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def code_identity(entrypoint: Sequence[str], source: Path, hashes: FileHashes) -> dict[str, str]:
    """Digests of the repository's files that a command runs, by relative path.

    ``python -m package.module`` runs the module or its folder, the modules beside it and what
    _SHARED_CODE names; any other word that is a file of the repository counts as well. A word
    that is no file (``bash``) counts as itself, through the command in the cache key.
    """
    files: dict[str, str] = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for file in sorted(_code_files(entrypoint, source)):
        name = file.relative_to(source) if file.is_relative_to(source) else file
        files[str(PurePosixPath(name))] = hashes.sha256(file)
    return files


def named_files(words: Sequence[str], hashes: FileHashes) -> dict[str, str] | None:
    """Digests of the files and folders of this machine that arguments name (a base model).

    Returns None for a folder of more files than a cache should read for one argument.
    """
    files: dict[str, str] = {}
    for word in words:
        path = Path(word)
        if path.is_absolute() and path.exists():
            found = list(islice(_below(path), _MOST_FILES + 1))
            if len(found) > _MOST_FILES:
                return None
            files |= {str(file): hashes.sha256(file) for file in found}
    return files


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (file for file in (Path(folder) / name for name in names) if file.is_file())


def _code_files(entrypoint: Sequence[str], source: Path) -> Iterator[Path]:
    yield from source.glob(_REQUIREMENTS)
    words = list(entrypoint)
    for index, word in enumerate(words):
        if index and words[index - 1] == "-m":
            yield from _module_files(word, source)
        elif word and (source / word).is_file():
            yield source / word


def _module_files(module: str, source: Path) -> Iterator[Path]:
    parts = module.split(".")
    package = source.joinpath(*parts[:-1])
    if len(parts) > 1:
        yield from package.glob("*.py")
    elif (source / f"{module}.py").is_file():
        yield source / f"{module}.py"
    for folder in (source.joinpath(*parts), *map(source.joinpath, _SHARED_CODE.get(parts[0], ()))):
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file
