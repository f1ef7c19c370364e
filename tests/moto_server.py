"""An emulated AWS in this process, over HTTP: moto's server, which all of its tests start here.

Leaves out: the account that the stacks are deployed to (tests/e2e/emulator.py).
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

_request = local()


@contextmanager
def running() -> Iterator[str]:
    """The address of a server on a free port, for as long as the context lasts."""
    from moto.server import ThreadedMotoServer

    sign_digests_as_they_are()
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


def sign_digests_as_they_are() -> None:
    """Mend what moto's KMS signs for ``MessageType=DIGEST``: the digest of the digest (5.2.5)."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256
    from moto.kms.responses import KmsResponse
    from moto.kms.utils import ECDSAPrivateKey

    if getattr(KmsResponse.sign, "mended", False):
        return
    answer, sign = KmsResponse.sign, ECDSAPrivateKey.sign

    def answer_by_type(response: Any) -> str:
        _request.is_digest = response._get_param("MessageType") == "DIGEST"
        return answer(response)

    def sign_by_type(key: Any, message: bytes, signing_algorithm: str) -> bytes:
        if _request.is_digest and signing_algorithm == "ECDSA_SHA_256":
            return key.private_key.sign(message, ec.ECDSA(Prehashed(SHA256())))
        return sign(key, message, signing_algorithm)

    answer_by_type.mended = True  # type: ignore[attr-defined]
    KmsResponse.sign = answer_by_type  # type: ignore[method-assign]
    ECDSAPrivateKey.sign = sign_by_type  # type: ignore[method-assign]
