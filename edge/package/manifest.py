"""``manifest.json`` of a package: what was signed, read strictly.

Everything that is done with a package is bounded by its manifest, so the manifest itself is bounded
here: its bytes, the files that it may name, what they may weigh and how they may be called. An
unknown key is an error; what a later format adds will carry another number.

What it leaves out: the signature (:mod:`edge.package.signature`) and the files themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, cast

from edge.package.errors import ManifestError

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
INSTALLED = "installed.json"
"""What the installer notes beside a version's files; no package may bring one."""
FORMAT = 2
MANIFEST_BYTES = 1_000_000
FILES = 2000
TOTAL_BYTES = 1_000_000_000
"""Of all files of a package together, unpacked."""
_KEYS = {
    "format", "component", "version", "model_version", "python", "architectures", "requires",
    "files",
}  # fmt: skip
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
"""A file's or folder's name: nothing hidden, nothing that a shell or a terminal would read."""
_PYTHON = re.compile(r"3\.[0-9]{1,3}")
_WORD = re.compile(r"[A-Za-z0-9_.+!-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Version(NamedTuple):
    """A component's version: three numbers, ordered."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: object) -> Version:
        """Read ``1.0.3``.

        Raises:
            ManifestError: It is not three numbers without leading zeros.
        """
        found = _VERSION.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ManifestError(f"A version must be three numbers like 1.0.3, not {_shown(text)}.")
        return cls(*(int(part) for part in found.groups()))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the package."""

    sha256: str
    size: int
    """In bytes."""
    architecture: str | None = None
    """The only one whose zip has it; ``None``: every zip has it."""


@dataclass(frozen=True)
class Manifest:
    """A manifest that was found to be well-formed, signed or not."""

    component: str
    version: Version
    model_version: str
    python: str
    """Major and minor version, the only ones that its wheels are for."""
    architectures: tuple[str, ...]
    requires: dict[str, str]
    """Distributions and their exact versions."""
    files: dict[str, Entry]
    raw: bytes = field(repr=False)
    """What was signed."""

    @property
    def sha256(self) -> str:
        """Of the manifest itself: two packages with the same one are the same."""
        return hashlib.sha256(self.raw).hexdigest()

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Read a manifest's bytes.

        Raises:
            ManifestError: It is too large, no JSON, or a key or a value is not as it must be.
        """
        if len(raw) > MANIFEST_BYTES:
            _refuse(f"it is larger than {MANIFEST_BYTES} bytes")
        value = _load(raw)
        if value.get("format") != FORMAT or isinstance(value.get("format"), bool):
            _refuse(
                f"its format is {_shown(value.get('format'))}, and this runtime knows {FORMAT}: "
                "install a newer runtime first"
            )
        if set(value) != _KEYS:
            odd = sorted(set(value) ^ _KEYS)[0]
            _refuse(f"its key {_shown(odd)} is {'unknown' if odd in value else 'missing'}")
        architectures = _architectures(value["architectures"])
        return cls(
            component=_text(value, "component", _PART),
            version=Version.parse(value["version"]),
            model_version=_text(value, "model_version", _WORD),
            python=_text(value, "python", _PYTHON),
            architectures=architectures,
            requires=_requires(value["requires"]),
            files=_files(value["files"], architectures),
            raw=raw,
        )

    def expected(self, architecture: str) -> dict[str, Entry]:
        """The files that this architecture's zip must or, for wheels, may have."""
        return {
            name: entry
            for name, entry in self.files.items()
            if entry.architecture in (None, architecture)
        }


def is_wheel(name: str) -> bool:
    """Whether a file is a vendored wheel: installed or not kept, so it may be missing."""
    return name.startswith("wheels/") and name.endswith(".whl")


def _load(raw: bytes) -> dict[str, Any]:
    try:
        value: Any = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        _refuse(f"it is not JSON: {str(error)[:120]}")
    if not isinstance(value, dict):
        _refuse("it is not a JSON object")
    return cast("dict[str, Any]", value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # what is named twice could be read one way where it was checked and another where it is used
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _text(value: dict[str, Any], key: str, rule: re.Pattern[str]) -> str:
    text = value[key]
    if not isinstance(text, str) or not rule.fullmatch(text):
        _refuse(f"its {key} cannot be {_shown(text)}")
    return text


def _architectures(value: Any) -> tuple[str, ...]:
    names = cast("list[Any]", value) if isinstance(value, list) else []
    good = all(isinstance(name, str) and _WORD.fullmatch(name) for name in names)
    if not 0 < len(names) <= 16 or not good or len(set(names)) != len(names):
        _refuse(f"its architectures cannot be {_shown(cast('object', value))}")
    return tuple(names)


def _requires(value: Any) -> dict[str, str]:
    table = cast("dict[str, Any]", value) if isinstance(value, dict) else None
    if table is None or len(table) > 200:
        _refuse(f"its requires cannot be {_shown(cast('object', value))}")
    for name, version in table.items():
        if not (_WORD.fullmatch(name) and isinstance(version, str) and _WORD.fullmatch(version)):
            _refuse(f"its requires cannot have {_shown(name)}: {_shown(version)}")
    return table


def _files(value: Any, architectures: tuple[str, ...]) -> dict[str, Entry]:
    if not isinstance(value, dict):
        _refuse(f"its files cannot be {_shown(cast('object', value))}")
    table = cast("dict[str, Any]", value)
    if not 0 < len(table) <= FILES:
        _refuse(f"it names {len(table)} files, and a package has 1 to {FILES}")
    files = {name: _entry(name, entry, architectures) for name, entry in table.items()}
    folders = {name[:at] for name in files for at, sign in enumerate(name) if sign == "/"}
    for name in folders & set(files):
        _refuse(f"{name} cannot be a file and a folder")
    if sum(entry.size for entry in files.values()) > TOTAL_BYTES:
        _refuse(f"its files weigh more than {TOTAL_BYTES} bytes together")
    return files


def _entry(name: str, value: Any, architectures: tuple[str, ...]) -> Entry:
    if name in (MANIFEST, SIGNATURE, INSTALLED) or len(name) > 250 or name.count("/") > 12:
        _refuse(f"no file can be called {_shown(name)}")
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        _refuse(f"no file can be called {_shown(name)}")
    table = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    digest, size = table.get("sha256"), table.get("bytes")
    architecture = table.get("architecture")
    sound = (
        set(table) - {"architecture"} == {"sha256", "bytes"}
        and isinstance(digest, str)
        and _SHA256.fullmatch(digest)
        and isinstance(size, int)
        and not isinstance(size, bool)
        and 0 <= size <= TOTAL_BYTES
        and ("architecture" not in table or architecture in architectures)
    )
    if not sound:
        _refuse(f"what it says of {name} is not a sha256, a number of bytes and an architecture")
    return Entry(cast("str", digest), cast("int", size), architecture)


def _shown(value: object) -> str:
    return ascii(value)[:60]


def _refuse(problem: str) -> NoReturn:
    raise ManifestError(f"The package's {MANIFEST} cannot be used: {problem}.")
