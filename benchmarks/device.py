"""What the device gets, measured in one run: speed, accuracy, start, memory, sizes.

``python -m benchmarks.device`` takes the newest execution under ``.slm`` that made a package
(``--execution`` and ``--home`` name another), or four folders: ``--model``, ``--compiled``,
``--prepared`` and ``--package``. On one thread, with the test split's utterances:

- ``predict`` beside PyTorch eager, plain ONNX Runtime and TF-IDF with a linear SVM, in turn
  (:mod:`benchmarks.prediction`), each utterance once, with the accuracy of each;
- from the start of a process to its first answer, the median of some starts: the component's folder
  unpacked and alone on PYTHONPATH, its code compiled anew each time, as on a device. In a shell
  (``slm-edge predict``), as a service, and with the supervisor that a device runs;
- the resident memory of supervisor and worker after they answered all utterances;
- the size of the package with its wheels, and of the model.

Exit code 1 if a bound of :data:`BOUNDS` is missed. What it leaves out: load and abuse, which
:mod:`benchmarks.service`, :mod:`benchmarks.fuzz` and :mod:`benchmarks.updates` are for.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.prediction import (
    Contender,
    Folders,
    accuracy,
    add_folders,
    contenders,
    find_folders,
    measure,
    median,
    table,
    test_rows,
)
from benchmarks.serving import Service, environment
from edge.package.check import this_architecture

STARTS = 7


@dataclass(frozen=True)
class Bound:
    """What must hold."""

    what: str
    limit: float
    at_least: bool = False

    def judge(self, value: float) -> tuple[bool, str]:
        """Whether ``value`` keeps it, and a line that says so."""
        holds = value >= self.limit if self.at_least else value <= self.limit
        relation = "at least" if self.at_least else "at most"
        return holds, f"{'holds ' if holds else 'MISSED'} {self.what}: {value:.2f} ({relation} " + (
            f"{self.limit:g})"
        )


BOUNDS = {
    "eager": Bound("times PyTorch eager", 8, at_least=True),
    "plain": Bound("times plain ONNX Runtime", 3, at_least=True),
    "svm": Bound("times TF-IDF with a linear SVM", 1, at_least=True),
    "points": Bound("points of accuracy over it", 4, at_least=True),
    "start": Bound("seconds from start to first answer", 0.6),
    "memory": Bound("MB resident", 150),
    "package": Bound("MB of package", 80),
    "model": Bound("MB of model", 24),
}


def unpack(package: Path, target: Path) -> Path:
    """The component for this machine, as a nucleus unpacks it; returns its zip."""
    archive = next(iter(package.glob(f"*-{this_architecture()}.zip")), None)
    if archive is None:
        sys.exit(f"error: {package} has no package for {this_architecture()}.")
    with zipfile.ZipFile(archive) as members:
        members.extractall(target)
    return archive


def first_prediction(runtime: Path, text: str) -> float:
    """Seconds of ``slm-edge predict``, from start to end."""
    command = [sys.executable, "-P", "-m", "edge", "predict", text]
    began = time.perf_counter()
    subprocess.run(
        command, cwd=runtime, env=environment(runtime), check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def first_answer(runtime: Path, text: str) -> float:
    """Seconds from the start of ``slm-edge serve --model`` to its first answer."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(runtime / "model", Path(folder), runtime=runtime) as service,
    ):
        status, _ = service.ask({"text": text})
        assert status == 200
        return time.perf_counter() - service.began


class Supervised:
    """``slm-edge serve --root`` with the package installed, as a device runs it."""

    def __init__(self, runtime: Path, package: Path, home: Path) -> None:
        self.root = home / "state"
        self._runtime = runtime
        self._config = home / "supervised.toml"
        keys = home / "no-keys"
        keys.mkdir()
        self._config.write_text(
            'listen = "127.0.0.1:0"\n'
            f'[updates]\ntrusted_keys = "{keys}"\nallow_unsigned = true\ntrial_seconds = 0\n'
        )
        self._run("install", "--package", str(package))

    def _command(self, *words: str) -> list[str]:
        command = [sys.executable, "-P", "-m", "edge", *words]
        return [*command, "--root", str(self.root), "--config", str(self._config)]

    def _run(self, *words: str) -> None:
        subprocess.run(
            self._command(*words), env=environment(self._runtime), check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, texts: list[str]) -> tuple[float, float]:
        """Start it, ask everything, end it.

        Returns:
            Seconds to the first answer, and MB of both processes after the last.
        """
        began = time.perf_counter()
        process = subprocess.Popen(
            self._command("serve"), env=environment(self._runtime), stderr=subprocess.DEVNULL
        )
        try:
            port = self._port(process)
            seconds = 0.0
            for text in texts:
                _ask(port, text)
                seconds = seconds or time.perf_counter() - began
            top = psutil.Process(process.pid)
            family = [top, *top.children(recursive=True)]
            return seconds, sum(member.memory_info().rss for member in family) / 1e6
        finally:
            process.terminate()
            process.wait(30)

    def _port(self, process: subprocess.Popen[bytes]) -> int:
        """From the note that the supervisor writes when its worker is ready."""
        while process.poll() is None:
            try:
                note = json.loads((self.root / "serve.json").read_bytes())
            except (OSError, ValueError):
                time.sleep(0.002)
                continue
            if note["pid"] == process.pid:
                return int(note["address"].rpartition(":")[2])
        sys.exit("error: the supervisor ended before it served.")


def _ask(port: int, text: str) -> None:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/predict", json.dumps({"text": text}).encode())
    assert connection.getresponse().status == 200
    connection.close()


def measure_processes(
    package: Path, texts: list[str], starts: int, say: Callable[[str], None]
) -> dict[str, float]:
    """Start-up, memory and sizes of the component."""
    with tempfile.TemporaryDirectory() as name:
        runtime = Path(name) / "component"
        archive = unpack(package, runtime)
        supervised = Supervised(runtime, archive, Path(name))
        shell = [first_prediction(runtime, texts[0]) for _ in range(starts)]
        alone = [first_answer(runtime, texts[0]) for _ in range(starts)]
        under = [supervised.start(texts[:1])[0] for _ in range(starts)]
        _, memory = supervised.start(texts)
        model = (runtime / "model" / "model.onnx").stat().st_size / 1e6
    for what, values in (
        ("slm-edge predict, to its end", shell),
        ("slm-edge serve --model, to its first answer", alone),
        ("slm-edge serve --root, to its first answer", under),
    ):
        say(f"{what:44} {statistics.median(values):6.3f} s (of {starts}, {min(values):.3f} to "
            f"{max(values):.3f})")  # fmt: skip
    say(f"{'supervisor and worker after the utterances':44} {memory:6.1f} MB resident")
    say(f"{archive.name:44} {archive.stat().st_size / 1e6:6.1f} MB")
    return {
        "start": statistics.median(alone),
        "memory": memory,
        "package": archive.stat().st_size / 1e6,
        "model": model,
    }


def compare(runners: list[Contender]) -> dict[str, float]:
    """Us beside the peers: how many times as long they take, and points of accuracy."""
    us, eager, plain, svm = runners
    return {
        "eager": median(eager) / median(us),
        "plain": median(plain) / median(us),
        "svm": median(svm) / median(us),
        "points": 100 * (accuracy(us) - accuracy(svm)),
    }


def run(
    folders: Folders, utterances: int | None, starts: int, say: Callable[[str], None] = print
) -> dict[str, float]:
    """Measure everything; what :data:`BOUNDS` are for, by their names."""
    assert folders.package is not None
    rows = test_rows(folders.prepared, utterances)
    say(f"{processor()}, {len(rows)} utterances")
    found = measure_processes(folders.package, [row["text"] for row in rows], starts, say)
    with tempfile.TemporaryDirectory() as scratch:
        runners = contenders(folders, Path(scratch))
        measure(runners, rows)
    say(table(runners))
    return {**found, **compare(runners)}


def processor() -> str:
    """Its name, and whether it multiplies bytes in one instruction."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    facts: dict[str, Any] = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    kinds = ("avx_vnni", "avx512_vnni", "avx2", "asimddp")
    has = [kind for kind in kinds if kind in str(facts.get("flags") or facts.get("Features"))]
    return f"{facts.get('model name', platform.machine())} ({', '.join(has)})"


def main() -> int:
    """Measure, print, and say whether what must hold does."""
    parser = argparse.ArgumentParser(prog="benchmarks.device", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_folders(parser)
    parser.add_argument("--utterances", type=int, help="all of the test split when left away")
    parser.add_argument("--starts", type=int, default=STARTS)
    given = parser.parse_args()
    folders = find_folders(given)
    if folders.package is None:
        parser.error("--package, or an execution that made one, is needed")
    found = run(folders, given.utterances, given.starts)
    judged = [BOUNDS[name].judge(found[name]) for name in BOUNDS]
    print(*(line for _, line in judged), sep="\n")
    return 0 if all(holds for holds, _ in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
