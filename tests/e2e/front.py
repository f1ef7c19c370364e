"""The emulator with Greengrass on a free port, in this process or in one of its own.

``python -m tests.e2e.front ACCOUNT REGION`` prints its address and serves until it is stopped.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.apart import unmeasured
from tests.e2e.greengrass import Front, Greengrass
from tests.moto_server import sign_digests_as_they_are


@contextmanager
def running(account: str, region: str) -> Iterator[tuple[str, Greengrass]]:
    """The address and the service, for as long as the context lasts."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    sign_digests_as_they_are()
    service = Greengrass(account, region)
    application = Front(DomainDispatcherApplication(create_backend_app), service)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_apart(account: str, region: str) -> Iterator[str]:
    """The address of one in a process of its own, which a crowd of devices may keep busy."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.front", account, region],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=unmeasured(),
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address, "the emulator did not start"
        yield address
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    with running(sys.argv[1], sys.argv[2]) as (where, _):
        print(where, flush=True)
        threading.Event().wait()
