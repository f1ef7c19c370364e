"""A package's lifecycle on this machine: installed, started, asked, stopped, and started again.

What a device of the environment would do with the package, from its zip and with its recipe: the
install script makes the environment from the wheels in the zip, checks hashes and signature with
the environment's public key, and lets the model answer its own questions; the run script serves.
The scripts see nothing of this process's environment, its credentials least of all.

Leaves out: Greengrass itself, and every architecture but this machine's.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from pipeline.cloud.delivery.nucleus import Nucleus, NucleusError
from pipeline.cloud.fleet.packages import Package
from pipeline.cloud.session import CloudError

SECONDS = 120.0
"""The most that a version may take to answer after it was started."""
_CONFIG = """\
listen = "127.0.0.1:{port}"

[updates]
trusted_keys = "{trusted}"
trial_seconds = 5.0
"""


def carry_out(
    package: Package,
    public_key: bytes,
    utterances: list[str],
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Carry the lifecycle of a package out below ``folder``.

    Args:
        public_key: What devices trust, as PEM.
        utterances: What it is asked; it has to answer each.

    Raises:
        CloudError: It was not installed, or did not answer, or did not stop; with what it printed.
    """
    port = _free_port()
    nucleus = Nucleus(
        folder / "nucleus",
        lambda uri: package.folder / uri.rpartition("/")[2],
        {"SLM_EDGE_CONFIG": str(_provision(folder / "device", public_key, port))},
    )
    began = time.monotonic()
    try:
        result = nucleus.deploy(package.recipe)
    except NucleusError as error:
        raise CloudError(f"{package.name} {package.version} was refused: {error}.") from None
    if not result.succeeded:
        raise CloudError(_with_output(package, result.reason, result.output))
    say(f"installed {package.name} {package.version} in {time.monotonic() - began:.1f} s")
    for number in (1, 2):  # the second start is what a device does after it was switched off
        _serve(nucleus, package, port, utterances)
        say(f"start {number}: {len(utterances)} utterances answered, stopped")


def _serve(nucleus: Nucleus, package: Package, port: int, utterances: list[str]) -> None:
    """Start it, ask it, stop it.

    Raises:
        CloudError: See above.
    """
    nucleus.run()
    try:
        _wait_for(port, package, nucleus)
        for text in utterances:
            answer = _ask(port, "predict", {"text": text})
            if not isinstance(answer.get("intent"), str) or "out_of_scope" not in answer:
                raise CloudError(
                    _with_output(package, f"{text!r} got no intent", nucleus.log.read_text())
                )
    finally:
        code = nucleus.stop()
    if code != 0:
        words = f"stopping it ended with {code}"
        raise CloudError(_with_output(package, words, nucleus.log.read_text()))


def _provision(folder: Path, public_key: bytes, port: int) -> Path:
    """The configuration that a device would have."""
    trusted = folder / "trusted"
    trusted.mkdir(parents=True)
    (trusted / "release.pem").write_bytes(public_key)
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(port=port, trusted=trusted), encoding="utf-8")
    return config


def _wait_for(port: int, package: Package, nucleus: Nucleus) -> None:
    """Until this version answers.

    Raises:
        CloudError: It does not in time, or another version does.
    """
    deadline = time.monotonic() + SECONDS
    while True:
        process = nucleus.process
        ended = process is None or process.poll() is not None
        try:
            served = str(_ask(port, "version").get("package"))
        except (OSError, ValueError):
            served = ""
        if served == package.version:
            return
        if served:
            words = f"{served} answers in its place"
        elif ended:
            words = "it ended by itself"
        elif time.monotonic() > deadline:
            words = f"it did not answer within {SECONDS:.0f} s"
        else:
            time.sleep(0.2)
            continue
        raise CloudError(_with_output(package, words, nucleus.log.read_text(errors="replace")))


def _ask(port: int, what: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One request to the component's service.

    Raises:
        OSError: It does not answer, or not with success.
        ValueError: It answers no JSON.
    """
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/{what}",
        data=None if content is None else json.dumps(content).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        value: object = json.loads(answer.read())
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _with_output(package: Package, words: str, output: str) -> str:
    """A sentence, below what the component printed last."""
    printed = "\n".join(f"  | {line}" for line in output.splitlines()[-20:])
    return f"{package.name} {package.version} is not good: {words}.\n{printed}"
