"""An emulated AWS in this process, over HTTP: moto's server, which all of its tests start here.

Leaves out: the account that the stacks are deployed to (tests/e2e/emulator.py).
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def running() -> Iterator[str]:
    """The address of a server on a free port, for as long as the context lasts."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def reset(address: str) -> None:
    """Empty the emulator, which all servers of a process share.

    Raises:
        OSError: It did not answer with success.
    """
    urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()  # noqa: S310 - our own
