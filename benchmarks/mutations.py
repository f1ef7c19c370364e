"""Packages that are not what was signed: none may be accepted.

``python -m benchmarks.mutations`` changes a good package 10,000 times (``--count``): bits, bytes,
lengths, names, the manifest, members of the zip, signatures by strangers, and nonsense that the
trusted key itself signed. Each is judged and unpacked as the installer does it, in this process.
Exit code 1 if a file came out that nobody trusted signed, if one ended in anything but one
sentence, or if memory grew. ``--seed`` repeats a run.

A change that reading does not see, as in the time of a zip's member, leaves the very files that
were signed: that is counted, and is right. The worker in the package is a stand-in of some
kilobytes; what judges is what ships.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from edge.errors import EdgeError
from edge.package.check import open_package
from edge.settings import Settings
from edge.updates.install import check
from tests.edge.packages import Device, Draft, PrivateKey, draft, new_key, sign

MOST_GROWTH_MB = 5.0
"""Of this process over a whole run."""
WARM_UP = 200
"""Packages before memory is looked at: what is imported once is no growth."""
LONGEST_SENTENCE = 600
_NONSENSE = (
    None, [], {}, -1, 1e400, "x" * 9999, True, "../../etc", "1.0", "\x1b[2J", [[]] * 50, 2**70
)  # fmt: skip
_NAMES = (
    "../evil.py", "/tmp/evil", "edge/../../evil", "edge\\evil.py", "model/extra.onnx", "C:evil",  # noqa: S108
    "edge/ .py", "sitecustomize.py", "edge/a/b/c/d/e/f/g/h.py", "\x1b[2Jx", "installed.json",
)  # fmt: skip


class Mutant(NamedTuple):
    """What the judge gets, and the only files that may come out of it."""

    zip: bytes
    signature: bytes
    signed: dict[str, bytes]


@dataclass
class Tally:
    """What came of them."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    growth: float = 0.0
    """MB since the warm-up."""


class Mutations:
    """Makes bad packages from a good one."""

    def __init__(self, key: PrivateKey, chance: random.Random) -> None:
        self.key = key
        self.stranger = new_key("ecdsa")
        self.chance = chance
        self.draft = draft("1.0.5")
        self.files = _members(self.draft)
        self.zip = _pack(self.files.items())
        self.signature = sign(key, self.files["manifest.json"])
        self.kinds = (
            self.flip_bits, self.cut, self.insert, self.swap_files, self.edit,
            self.sign_as_stranger, self.sign_nonsense, self.add_member, self.break_signature,
            self.rename_member, self.duplicate_member,
        )  # fmt: skip

    def good(self) -> Mutant:
        """The package that everything else is made from."""
        return Mutant(self.zip, self.signature, self.files)

    def flip_bits(self) -> Mutant:
        """Some bits of the zip."""
        data = bytearray(self.zip)
        for _ in range(self.chance.choice((1, 1, 1, 2, 8, 64))):
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        return self._with(bytes(data))

    def cut(self) -> Mutant:
        """A download that ended early."""
        return self._with(self.zip[: self.chance.randrange(len(self.zip))])

    def insert(self) -> Mutant:
        """Bytes that were not there."""
        place = self.chance.randrange(len(self.zip) + 1)
        more = self.chance.randbytes(self.chance.choice((1, 4, 64, 1024)))
        return self._with(self.zip[:place] + more + self.zip[place:])

    def swap_files(self) -> Mutant:
        """Two files under each other's names."""
        files = dict(self.files)
        one, other = self.chance.sample(sorted(self.draft.files), 2)
        files[one], files[other] = files[other], files[one]
        return self._with(_pack(files.items()))

    def edit(self) -> Mutant:
        """Another manifest under the signature of the old one."""
        return self._with(_pack(_members(self._edited()).items()))

    def sign_as_stranger(self) -> Mutant:
        """The same, or nothing changed, with a signature by a key that nobody trusts."""
        files = _members(self._edited()) if self.chance.random() < 0.7 else self.files
        return self._with(_pack(files.items()), sign(self.stranger, files["manifest.json"]))

    def sign_nonsense(self) -> Mutant:
        """The trusted key signed it: it may be installed, but only as it was signed."""
        files = _members(self._edited())
        signature = sign(self.key, files["manifest.json"])
        return Mutant(_pack(files.items()), signature, files)

    def add_member(self) -> Mutant:
        """A file that the manifest does not name: a path out of the folder, a link, a bomb."""
        info = zipfile.ZipInfo(self.chance.choice(_NAMES))
        info.compress_type = zipfile.ZIP_DEFLATED
        if self.chance.random() < 0.4:
            info.external_attr = self.chance.choice((0o120777, 0o010644, 0o040755)) << 16
        content = b"/etc/passwd" if self.chance.random() < 0.5 else bytes(1_000_000)
        return self._with(_pack([*self.files.items(), (info, content)]))

    def break_signature(self) -> Mutant:
        """A bit, the end or the length of the signature."""
        signature = bytearray(self.signature)
        choice = self.chance.randrange(3)
        if choice == 0:
            signature[self.chance.randrange(len(signature))] ^= 1 << self.chance.randrange(8)
        elif choice == 1:
            del signature[self.chance.randrange(len(signature)) :]
        else:
            signature += self.chance.randbytes(self.chance.randrange(1, 2000))
        return self._with(self.zip, bytes(signature))

    def rename_member(self) -> Mutant:
        """A file that is there under another name."""
        files = dict(self.files)
        name = self.chance.choice(sorted(files))
        files[name.upper() if self.chance.random() < 0.5 else f"{name}~"] = files.pop(name)
        return self._with(_pack(files.items()))

    def duplicate_member(self) -> Mutant:
        """A name twice: one could be checked and the other used."""
        members = [*self.files.items(), (self.chance.choice(sorted(self.files)), b"import os\n")]
        if self.chance.random() < 0.5:
            members.reverse()
        return self._with(_pack(members))

    def _with(self, data: bytes, signature: bytes | None = None) -> Mutant:
        return Mutant(data, self.signature if signature is None else signature, self.files)

    def _edited(self) -> Draft:
        """A package in which one thing is different, named in its manifest or not."""
        changed = Draft(dict(self.draft.files), json.loads(self.draft.manifest_bytes()))
        name = self.chance.choice(sorted(changed.files))
        code = self.chance.choice((b"import os\n", b"", bytes(10)))
        choice = self.chance.randrange(6)
        if choice == 0:
            changed.add(name, code + changed.files[name])
        elif choice == 1:
            changed.manifest["version"] = f"1.0.{self.chance.randrange(6, 10**6)}"
        elif choice == 2:
            del changed.files[name], changed.manifest["files"][name]
        elif choice == 3:
            changed.add(f"edge/more{self.chance.randrange(99)}.py", code)
        elif choice == 4:
            entry = changed.manifest["files"][name]
            entry[self.chance.choice(sorted(entry))] = self.chance.choice(_NONSENSE)
        else:
            key = self.chance.choice([*sorted(changed.manifest), "more"])
            changed.manifest[key] = self.chance.choice(_NONSENSE)
        return changed


class Judge:
    """The device: its trusted key, and what it makes of a package."""

    def __init__(self, home: Path) -> None:
        device = Device(home, new_key())
        self.key = device.key
        self.settings = Settings.read(device.config).updates
        folder = home / "package"
        self.path = draft("1.0.5").write(folder, device.key)

    def judge(self, mutant: Mutant) -> tuple[str, str | None]:
        """What came of it in a word, and what is wrong with that."""
        self.path.write_bytes(mutant.zip)
        (self.path.parent / "manifest.sig").write_bytes(mutant.signature)
        try:
            with open_package(self.path) as package, tempfile.TemporaryDirectory() as name:
                check(package, self.settings)
                package.unpack(Path(name))
                found = _read(Path(name))
        except EdgeError as error:
            sentence = str(error)
            is_one = "\n" not in sentence and sentence.isprintable()
            fault = None if is_one and len(sentence) <= LONGEST_SENTENCE else f"{sentence!r}"
            return type(error).__name__, fault
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            return "CRASHED", repr(error)
        if found == mutant.signed:
            return "the signed files", None
        return "ACCEPTED", f"{sorted(set(found) ^ set(mutant.signed)) or 'a changed file'}"


def mutate(count: int, seed: int, say: Callable[[str], None] = print) -> Tally:
    """Judge ``count`` bad packages, after the good one and a warm-up."""
    chance, tally, process = random.Random(seed), Tally(), psutil.Process()  # noqa: S311
    with tempfile.TemporaryDirectory() as home:
        judge = Judge(Path(home))
        mutations = Mutations(judge.key, chance)
        outcome, _ = judge.judge(mutations.good())
        if outcome != "the signed files":
            tally.wrong.append(f"the good package was refused: {outcome}")
        before = 0.0
        for turn in range(1, count + 1):
            kind = chance.choice(mutations.kinds)
            outcome, fault = judge.judge(kind())
            tally.outcomes[outcome] += 1
            if fault:
                tally.wrong.append(f"{kind.__name__}, package {turn}: {fault}")
            if turn == min(WARM_UP, count):
                before = _resident(process)
            if turn % 2000 == 0:
                say(f"{turn:,} packages, {_resident(process):.1f} MB resident")
        tally.growth = _resident(process) - before
    return tally


def _members(made: Draft) -> dict[str, bytes]:
    return {**made.files, "manifest.json": made.manifest_bytes()}


def _pack(members: Iterable[tuple[zipfile.ZipInfo | str, bytes]]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice: it is meant
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def _read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.sig"
    }


def _resident(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


def main() -> int:
    """Judge them, print what came of them, and say whether what must hold does."""
    parser = argparse.ArgumentParser(prog="benchmarks.mutations", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tally = mutate(given.count, given.seed)
    for outcome, count in tally.outcomes.most_common():
        print(f"{outcome:18} {count:7,}")
    for sentence in tally.wrong[:20]:
        print(f"WRONG: {sentence}")
    holds = not tally.wrong and tally.growth <= MOST_GROWTH_MB
    print(
        f"{'holds' if holds else 'MISSED'}: {len(tally.wrong)} of {given.count:,} went wrong, "
        f"memory {tally.growth:+.1f} MB (at most {MOST_GROWTH_MB:.0f})"
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
