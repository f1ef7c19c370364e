"""The laptop's own signing key, which stands in for the account's KMS key.

It is an Ed25519 key under the runner's home, made when the first component is signed:
``signing/private.pem``, which its owner alone may read, and ``signing/public.pem``, which devices
are given to trust. What it leaves out: signing, which *package* does.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

FOLDER = "signing"
PRIVATE, PUBLIC = "private.pem", "public.pem"


def signing_key(home: Path) -> Path:
    """The private key under ``home``, made if there is none.

    Two runs that begin at once end up with the same key, and a run that is killed leaves either a
    whole key or none.

    Raises:
        OSError: The folder cannot be written.
        ValueError: What stands there is no private key.
    """
    folder = home / FOLDER
    private, public = folder / PRIVATE, folder / PUBLIC
    if not private.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), _beside(private, _new_key()) as complete:
            os.link(complete, private)
    if not public.exists():
        with _beside(public, _public_part(private)) as complete:
            complete.replace(public)
    return private


@contextlib.contextmanager
def _beside(path: Path, content: bytes) -> Generator[Path]:
    """A complete file beside ``path``, for its user alone; gone afterwards."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    complete = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield complete
    finally:
        complete.unlink(missing_ok=True)


def _new_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def _public_part(private: Path) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(private.read_bytes(), password=None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
