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
    """Mend what moto's KMS does for ``MessageType=DIGEST``: it signs and verifies the digest of the
    digest, and says that a signature is wrong where KMS raises (5.2.5)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
    from cryptography.hazmat.primitives.hashes import SHA256
    from moto.kms.responses import KmsResponse
    from moto.kms.utils import ECDSAPrivateKey

    if getattr(KmsResponse.sign, "mended", False):
        return
    prehashed = ec.ECDSA(Prehashed(SHA256()))
    sign, verify = ECDSAPrivateKey.sign, ECDSAPrivateKey.verify

    def by_type(answer: Any) -> Any:
        def answer_by_type(response: Any) -> str:
            _request.is_digest = response._get_param("MessageType") == "DIGEST"
            return answer(response)

        answer_by_type.mended = True  # type: ignore[attr-defined]
        return answer_by_type

    def sign_by_type(key: Any, message: bytes, signing_algorithm: str) -> bytes:
        if _request.is_digest and signing_algorithm == "ECDSA_SHA_256":
            return key.private_key.sign(message, prehashed)
        return sign(key, message, signing_algorithm)

    def verify_by_type(key: Any, message: bytes, signature: bytes, signing_algorithm: str) -> bool:
        if not _request.is_digest or signing_algorithm != "ECDSA_SHA_256":
            valid = verify(key, message, signature, signing_algorithm)
        else:
            try:
                key.private_key.public_key().verify(signature, message, prehashed)
                valid = True
            except InvalidSignature:
                valid = False
        if not valid:
            raise _invalid_signature()
        return valid

    KmsResponse.sign = by_type(KmsResponse.sign)  # type: ignore[method-assign]
    KmsResponse.verify = by_type(KmsResponse.verify)  # type: ignore[method-assign]
    ECDSAPrivateKey.sign = sign_by_type  # type: ignore[method-assign]
    ECDSAPrivateKey.verify = verify_by_type  # type: ignore[method-assign]


def _invalid_signature() -> Exception:
    from moto.core.exceptions import JsonRESTError

    return JsonRESTError("KMSInvalidSignatureException", "")
