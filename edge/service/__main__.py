"""The worker that the supervisor starts: serves one version on a socket that it inherits.

What it leaves out: opening the socket, and what becomes of a worker that ends.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path

from edge.errors import EdgeError
from edge.service.serve import serve_on
from edge.settings import Settings


def main() -> int:
    """Serve until SIGTERM; the exit code is 1 when the model cannot serve."""
    parser = argparse.ArgumentParser(prog="python -m edge.service")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--package-version", default="")
    given = parser.parse_args()

    def say(message: dict[str, object]) -> None:
        os.write(given.ready_fd, json.dumps(message).encode() + b"\n")
        os.close(given.ready_fd)

    version: str = given.package_version
    try:
        settings = Settings.read(given.config)
        listener = socket.socket(fileno=given.socket_fd)
        serve_on(
            listener, given.model, settings, given.root, version,
            lambda: say({"ready": True, "version": version}),
        )  # fmt: skip
    except EdgeError as error:
        say({"ready": False, "reason": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
