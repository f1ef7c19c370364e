"""What a device must have for the service: memory by settings and by what is asked, and disk.

``python -m benchmarks.sizing --package FOLDER`` takes the output folder of the *package* step and
serves its model from the zip's own code. For each setting a fresh service answers 200 utterances of
the kind that people say, one by one, and then batches as large as its limits allow, from as many
clients as it has threads: that is the most that anybody can make it hold. Memory is resident, its
peak as the kernel counted it (VmHWM).

What it leaves out: time. Other work on the machine changes it, and nothing here.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import Service
from edge.package.check import open_package

SAID = ("turn off the kitchen light", "what is the weather like in berlin tomorrow", "play jazz")
SINGLES = 200
ROUNDS = 4
DEFAULTS = {"threads": 1, "batch": 64, "characters": 2000}
SETTINGS: tuple[dict[str, object], ...] = (
    {},
    {"arena": "false"},
    {"batch": 1, "characters": 200},
    {"threads": 2},
    {"threads": 4},
)


@dataclass(frozen=True)
class Row:
    """Peaks in MB."""

    setting: str
    started: float
    singles: float
    most: float


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing")
    parser.add_argument("--package", type=Path, required=True, help="output of the package step")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpacked = folder / "component"
        unpacked.mkdir()
        with open_package(given.package) as package:
            package.unpack(unpacked)
            archive = package.path
        print("| on disk | MB |\n|---|---|")
        for what, size in disk(archive, unpacked):
            print(f"| {what} | {size / 1e6:.1f} |")
        print("\n| settings | started | 200 utterances | largest batches |\n|---|---|---|---|")
        for setting in SETTINGS:
            row = measure(unpacked, folder, setting)
            print(f"| {row.setting} | {row.started:.0f} | {row.singles:.0f} | {row.most:.0f} |")
    return 0


def disk(archive: Path, unpacked: Path) -> Iterator[tuple[str, int]]:
    """What the package and what is made of it weigh."""
    yield "the zip", archive.stat().st_size
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    yield "one installed version: code and model", sum(path.stat().st_size for path in files)
    with zipfile.ZipFile(archive) as package:
        wheels = [name for name in package.namelist() if name.endswith(".whl")]
        total = 0
        for name in wheels:
            with zipfile.ZipFile(io.BytesIO(package.read(name))) as wheel:
                total += sum(info.file_size for info in wheel.infolist())
    yield f"its Python environment: {len(wheels)} wheels, unpacked", total


def measure(component: Path, folder: Path, setting: dict[str, object]) -> Row:
    """One service, from its start to the most that it can be asked."""
    asked = {**DEFAULTS, **setting}
    limits = {key: float(str(setting[key])) for key in ("batch", "characters") if key in setting}
    limits = {key: int(value) for key, value in limits.items()}
    model = {key: setting[key] for key in ("threads", "arena") if key in setting}
    more = "\n".join(["[model]", *(f"{key} = {value}" for key, value in model.items())])
    # as many bytes as the largest batch has, and no deadline that a busy machine would miss
    limits |= {"body_bytes": 1_000_000, "deadline_seconds": 60}
    service = Service(component / "model", folder, limits, component, more)
    with service:
        started = peak(service)
        for number in range(SINGLES):
            require(service, {"text": SAID[number % len(SAID)]})
        singles = peak(service)
        text = ("word " * 400)[: int(str(asked["characters"]))]
        batch = {"texts": [text] * int(str(asked["batch"]))}
        threads = int(str(asked["threads"]))
        with ThreadPoolExecutor(threads) as clients:
            list(clients.map(lambda _: require(service, batch), range(ROUNDS * threads)))
        most = peak(service)
    name = ", ".join(f"`{key} = {value}`" for key, value in setting.items())
    return Row(name or "the defaults", started, singles, most)


def require(service: Service, value: object) -> None:
    """Ask, and insist on an answer."""
    status, body = service.ask(value, 120)
    if status != 200:
        raise SystemExit(f"the service answered {status}: {body[:300]!r}")


def peak(service: Service) -> float:
    """The most memory that was resident so far, in MB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
