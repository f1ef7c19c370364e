"""A nucleus of Greengrass, as far as a component's lifecycle shows of it.

It carries a recipe out in an empty folder: picks the manifest of this platform, fetches and
unpacks the artifacts, replaces the variables, runs ``install`` within its ``Timeout`` and then
``run``, with ``/bin/sh`` and an environment that holds nothing of whoever calls, credentials
included. A deployment that fails leaves the version before it in place and starts it again. ::

    nucleus = Nucleus(folder, fetch)           # fetch(uri) -> bytes, or the path of a file
    result = nucleus.deploy(recipe)            # stops what runs, installs, does not start
    nucleus.run()
    nucleus.stop()

It leaves out: the cloud, permissions, dependencies, configuration, and restarting what crashed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INSTALL_SECONDS = 120
"""What the classic nucleus allows a script without ``Timeout``."""
GRACE_SECONDS = 15
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "aarch64", "arm64": "aarch64"}
_VARIABLE = re.compile(r"\{([.\w]+):([^:}]+)\}")


class NucleusError(Exception):
    """The recipe is not one that this nucleus takes."""


@dataclass(frozen=True)
class Result:
    """How a deployment ended."""

    succeeded: bool
    reason: str
    """Empty when it succeeded."""
    output: str
    """What the install script printed."""


@dataclass
class Nucleus:
    """One device's nucleus, all of it below ``folder``."""

    folder: Path
    fetch: Callable[[str], bytes | Path]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that the scripts get beside a few of the system's."""
    architecture: str = field(default_factory=lambda: ARCHITECTURES[platform.machine()])
    recipe: dict[str, Any] | None = None
    """What is deployed."""
    process: subprocess.Popen[bytes] | None = None

    def deploy(self, recipe: dict[str, Any]) -> Result:
        """Install ``recipe``. What ran is stopped first, and started again if this fails."""
        running = self.process is not None
        if running:
            self.stop()
        result = self._install(recipe)
        if result.succeeded:
            self.recipe = recipe
        elif running:
            self.run()
        return result

    def run(self) -> subprocess.Popen[bytes]:
        """Start the run script of what is deployed; its output goes to :attr:`log`.

        Raises:
            NucleusError: Nothing is deployed, or it runs already.
        """
        if self.recipe is None or self.process is not None:
            raise NucleusError("nothing is deployed" if self.recipe is None else "it runs already")
        manifest = self._manifest(self.recipe)
        with self.log.open("ab") as log:
            self.process = self._start(self.recipe, manifest["Lifecycle"]["run"]["Script"], log)
        return self.process

    def stop(self) -> int:
        """End every process of the component, as systemd would: SIGTERM for all, then SIGKILL."""
        process = self._taken()
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        _signal(process, signal.SIGKILL)
        return process.wait()

    def kill(self) -> None:
        """What a power cut does to the component's processes."""
        process = self._taken()
        _signal(process, signal.SIGKILL)
        process.wait()

    def _taken(self) -> subprocess.Popen[bytes]:
        """The process that runs, which is then nobody's to run again."""
        process, self.process = self.process, None
        if process is None:
            raise NucleusError("nothing runs")
        return process

    @property
    def log(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / "component.log"

    def work(self, component: str) -> Path:
        """``{work:path}``, which outlives versions."""
        return self.folder / "work" / component

    def artifacts(self, recipe: Mapping[str, Any]) -> Path:
        """``{artifacts:path}``."""
        return self._of(recipe, "artifacts")

    def unpacked(self, recipe: Mapping[str, Any]) -> Path:
        """``{artifacts:decompressedPath}``."""
        return self._of(recipe, "artifacts-unarchived")

    def script(self, recipe: Mapping[str, Any], step: str) -> str:
        """A script of the lifecycle, its variables replaced.

        Raises:
            NucleusError: It has a variable that nucleus lite does not know.
        """
        return self._replace(recipe, self._manifest(recipe)["Lifecycle"][step]["Script"])

    def _of(self, recipe: Mapping[str, Any], kind: str) -> Path:
        name, version = recipe["ComponentName"], recipe["ComponentVersion"]
        return self.folder / "packages" / kind / name / version

    def _manifest(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        for manifest in recipe["Manifests"]:
            wanted = manifest["Platform"]
            fits = wanted.get("architecture") in (self.architecture, "*", None)
            if fits and wanted["os"] in ("linux", "*") and wanted["runtime"] == "*":
                return manifest
        raise NucleusError(f"no manifest of the recipe is for linux on {self.architecture}")

    def _install(self, recipe: dict[str, Any]) -> Result:
        manifest = self._manifest(recipe)
        self.work(recipe["ComponentName"]).mkdir(parents=True, exist_ok=True)
        for artifact in manifest["Artifacts"]:
            self._fetch(recipe, artifact)
        step = manifest["Lifecycle"]["install"]
        seconds = step.get("Timeout", INSTALL_SECONDS)
        process = self._start(recipe, step["Script"], subprocess.PIPE)
        try:
            output = process.communicate(timeout=seconds)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            output = process.communicate()[0].decode(errors="replace")
            return Result(False, f"install took longer than {seconds} s", output)
        with self.log.open("a") as log:
            log.write(output)
        if process.returncode:
            return Result(False, f"install ended with exit code {process.returncode}", output)
        return Result(True, "", output)

    def _fetch(self, recipe: Mapping[str, Any], artifact: Mapping[str, str]) -> None:
        folder = self.artifacts(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / artifact["Uri"].rpartition("/")[2]
        content = self.fetch(artifact["Uri"])
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        if "Digest" in artifact:  # the cloud writes it into the recipe when a version is made
            digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
            if digest != artifact["Digest"]:
                raise NucleusError(f"{artifact['Uri']} is not the artifact that was registered")
        if artifact.get("Unarchive") == "ZIP":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(self.unpacked(recipe) / path.stem)

    def _replace(self, recipe: Mapping[str, Any], script: str) -> str:
        values = {
            "artifacts:path": self.artifacts(recipe),
            "artifacts:decompressedPath": self.unpacked(recipe),
            "work:path": self.work(recipe["ComponentName"]),
            "kernel:rootPath": self.folder,
        }

        def value(match: re.Match[str]) -> str:
            name = f"{match[1]}:{match[2]}"
            if name not in values:
                raise NucleusError(f"{match[0]} is not a variable that nucleus lite knows")
            return str(values[name])

        return _VARIABLE.sub(value, script)

    def _start(
        self, recipe: Mapping[str, Any], script: str, output: Any
    ) -> subprocess.Popen[bytes]:
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            ["/bin/sh", "-c", self._replace(recipe, script)],
            cwd=self.work(recipe["ComponentName"]),
            env={"PATH": search_path(), "HOME": str(home), "LANG": "C.UTF-8", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def search_path() -> str:
    """The system's programs and the interpreter that this one's environment was made from."""
    return os.pathsep.join([str(Path(sys.base_prefix) / "bin"), "/usr/bin", "/bin"])


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
