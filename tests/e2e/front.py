"""The emulator with Greengrass in this process, on a free port, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
