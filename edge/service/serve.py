"""Loads a model, tests it, and serves it in this process.

What it leaves out: other versions and crashes, which the supervisor of ``serve --root`` sees to.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

from edge.service.listening import address_of, open_socket, remove_socket
from edge.settings import Settings


def serve(model: Path, *, config: Path | None = None, listen: str | None = None) -> int:
    """``slm-edge serve --model``: until a signal.

    Raises:
        EdgeError: The configuration, the model or the address is wrong.
    """
    settings = Settings.read(config).listening(listen)
    listener = open_socket(settings.address)
    address = address_of(listener, settings.address)

    def ready() -> None:
        print(f"serving {model} on {address}", file=sys.stderr, flush=True)

    try:
        serve_on(listener, model, settings, None, "", ready)
    finally:
        remove_socket(listener, settings.address)
    return 0


def serve_on(
    listener: socket.socket,
    model: Path,
    settings: Settings,
    root: Path | None,
    version: str,
    ready: Callable[[], None],
) -> None:
    """Load and test ``model``, then answer on ``listener`` until a signal.

    Raises:
        EdgeError: The model cannot serve.
    """
    from edge import selftest
    from edge.classifier import IntentClassifier
    from edge.service.app import App
    from edge.service.engine import Engine
    from edge.service.server import run
    from edge.telemetry import Telemetry

    chosen = settings.model
    classifier = IntentClassifier.load(model, arena=chosen.arena, precise=chosen.precise)
    if root is not None or (model / selftest.SELFTEST).exists():
        selftest.check(classifier, model)
    versions = {"component": version, "model": classifier.model_version}
    telemetry = Telemetry.start(settings, root, versions)
    engine = Engine(classifier, settings, telemetry)
    messages = None
    if settings.greengrass.applies:
        from edge.greengrass import ipc

        messages = ipc.serve(engine.answer, settings, error=telemetry.error)
    try:
        run(App(engine, version), listener, ready)
    finally:
        if messages is not None:
            messages.close()
        engine.close()
        telemetry.close()
