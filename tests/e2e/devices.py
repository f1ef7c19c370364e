"""One simulated device as a process: ``python -m tests.e2e.devices FOLDER ADDRESS``.

FOLDER is what ``slm fleet provision`` wrote. The process asks the emulated account what it should
have, fetches the artifacts over HTTP and installs them with the runtime's own code: judged with the
provisioned key, unpacked, tested by the package's own code in a process of its own, and only then
named in the device's state; it reports how that went. All the time it "answers"
utterances and counts them with the runtime's own telemetry, which sends them to the account.

It leaves out: the nucleus (nucleus.py) and serving requests; the packages carry a stand-in for the
model, because fifty of the real one are too heavy for a test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import signal
import sys
import tempfile
import threading
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import EdgeError
from edge.settings import Settings
from edge.telemetry import Telemetry
from edge.updates.install import install
from edge.updates.state import Root

UTTERANCES = ("turn the secret lamp off", "wake me at seven", "what does the zebra cost")
ASK_SECONDS = 1.0
ROLE = {"Authorization": "AWS4-HMAC-SHA256 Credential=ASIA/20261123/eu-west-1/s3/aws4_request"}
"""Stands for the credentials of the token-exchange role; the emulator compares no signatures."""
ARCHITECTURE = {"x86_64": "amd64"}.get(platform.machine(), platform.machine())


class RefusedError(Exception):
    """The package is not good; the old version stays."""


@dataclass(frozen=True)
class Answered:
    """What telemetry looks at."""

    intent: str
    confidence: float
    out_of_scope: bool
    energy: float
    tokens: int
    unknown_tokens: int = 0


class Device:
    """State below FOLDER/state: the serving version's folder, and which it is."""

    def __init__(self, folder: Path, address: str) -> None:
        self.settings = Settings.read(folder / "config.toml")
        self.folder, self.address, self.root = folder, address, Root(folder / "state")
        self.root.make()
        self.telemetry: Telemetry | None = None

    @property
    def serving(self) -> str | None:
        return self.root.read().serving

    def ask(self) -> None:
        """Ask once what there is to do, do it, and tell."""
        url = f"{self.address}/emulated/core/{self.settings.thing}"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - the emulator
            work = json.load(answer)
        if work is None:
            return
        report: dict[str, Any] = {"deployment": work["deployment"], "status": "SUCCEEDED"}
        try:
            for recipe in work["recipes"]:
                self.install(recipe)
        except (RefusedError, EdgeError, OSError) as error:
            report |= {"status": "FAILED", "reason": str(error)}
        component = {
            "componentName": work["recipes"][0]["ComponentName"],
            "componentVersion": self.serving,
            "lifecycleState": "RUNNING",
        }
        report |= {"health": "HEALTHY", "components": [component] if self.serving else []}
        urllib.request.urlopen(url, json.dumps(report).encode()).close()  # noqa: S310

    def install(self, recipe: dict[str, Any]) -> None:
        """Fetch, and install as the recipe's script does; the trial is taken as lived through.

        Raises:
            RefusedError: It is not the artifact that was registered, or was refused before.
            EdgeError: The package is not good, or its self-test failed.
        """
        version = recipe["ComponentVersion"]
        with tempfile.TemporaryDirectory(dir=self.folder) as fetched:
            archive = self.fetch(recipe, Path(fetched))
            signature = archive.with_name("manifest.sig")
            outcome = install(self.root, archive, self.settings.updates, signature=signature)
        self.root.change(lambda state: state.confirm(version))
        if self.serving != version:
            raise RefusedError(outcome.sentence)
        self.count(version)

    def fetch(self, recipe: dict[str, Any], folder: Path) -> Path:
        """The artifacts of this machine, each compared with the recipe's digest."""
        (manifest,) = [
            one for one in recipe["Manifests"] if one["Platform"]["architecture"] == ARCHITECTURE
        ]
        for artifact in manifest["Artifacts"]:
            path = folder / artifact["Uri"].rpartition("/")[2]
            place = artifact["Uri"].removeprefix("s3://")
            request = urllib.request.Request(f"{self.address}/{place}", headers=ROLE)  # noqa: S310
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                path.write_bytes(answer.read())
            digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
            if digest != artifact["Digest"]:
                raise RefusedError(f"{path.name} is not the artifact that was registered.")
        (archive,) = [path for path in folder.glob("*.zip") if zipfile.is_zipfile(path)]
        return archive

    def count(self, version: str) -> None:
        """Tell of ``version`` from now on."""
        if self.telemetry is not None:
            self.telemetry.close()
        versions = {"component": version, "model": version.rpartition(".")[2]}
        self.telemetry = Telemetry.start(self.settings, self.root.path, versions)

    def answer(self, number: int) -> None:
        """Answer one utterance, as the service would, and count it."""
        if self.telemetry is None:
            return
        text = UTTERANCES[number % len(UTTERANCES)]
        outside = "zebra" in text
        answered = Answered("lights_off", 0.9, outside, 7.5, len(text.split()) + 2)
        self.telemetry.observe(answered, len(text), 0.001)

    def live(self, over: threading.Event) -> None:
        """Go on until told to end."""
        if self.serving:
            self.count(self.serving)
        asked = 0
        while not over.is_set():
            try:
                self.ask()
            except OSError as error:  # the emulator is busy: as with a network, ask again
                print(f"{self.settings.thing}: {error}", file=sys.stderr)
            for number in range(5):
                self.answer(asked + number)
            asked += 1
            over.wait(ASK_SECONDS)
        if self.telemetry is not None:
            self.telemetry.close()


def main() -> None:
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    Device(Path(sys.argv[1]), sys.argv[2]).live(over)


if __name__ == "__main__":
    main()
