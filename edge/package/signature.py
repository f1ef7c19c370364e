"""Checks the signature of a manifest with the keys that the device was provisioned with.

Ed25519 (RFC 8032; the raw 64 bytes) or ECDSA on P-256 with SHA-256 (DER), as the trusted key's own
type says: the package has no say in the algorithm. Both over the exact bytes of ``manifest.json``,
so that ``openssl`` checks them too. All arithmetic is the ``cryptography`` package's.

What it leaves out: certificates and dates. A key is trusted as long as its file is there; a
device's clock may say 1970.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge.package.errors import SignatureError, TrustError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

SIGNATURE_BYTES = 1024
"""More than any signature of the two kinds has."""
KEY_BYTES = 16_384
KEYS = 64


class Signer(NamedTuple):
    """Whose key checked out."""

    key: str
    """SHA-256 of the public key (its SubjectPublicKeyInfo in DER), as ``package.json`` says it."""
    file: str


class TrustedKeys:
    """The usable keys of a folder, and which of its files were none."""

    def __init__(self, folder: Path, keys: list[tuple[Signer, PublicKey]], unusable: list[str]):
        self.folder = folder
        self._keys = keys
        self._unusable = unusable

    @classmethod
    def read(cls, folder: Path) -> TrustedKeys:
        """Read the ``*.pem`` of a folder; one damaged file does not take the others' trust away.

        Raises:
            TrustError: The folder is missing or has no usable key.
        """
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise TrustError(
                f"The trusted keys in {folder} cannot be read ({error.strerror}): "
                "put the public key that packages are signed with there."
            ) from None
        keys: list[tuple[Signer, PublicKey]] = []
        unusable: list[str] = []
        for path in [path for path in paths if path.suffix == ".pem"][:KEYS]:
            key = _read_key(path)
            if key is None:
                unusable.append(path.name)
            else:
                keys.append((Signer(_fingerprint(key), path.name), key))
        if not keys:
            bad = f" ({', '.join(unusable)} cannot be used)" if unusable else ""
            raise TrustError(
                f"{folder} has no public key of Ed25519 or of ECDSA on P-256{bad}: "
                "put the one that packages are signed with there as NAME.pem."
            )
        return cls(folder, keys, unusable)

    def check(self, data: bytes, signature: bytes) -> Signer:
        """Find the key that signed ``data``.

        Raises:
            SignatureError: None of them did.
        """
        for signer, key in self._keys:
            if _is_by(key, data, signature):
                return signer
        bad = f" (and {', '.join(self._unusable)} cannot be used)" if self._unusable else ""
        raise SignatureError(
            f"No key in {self.folder}{bad} signed this manifest: it was altered or is a "
            "stranger's, get the package again from where it was signed."
        )


def read_signature(path: Path) -> bytes:
    """A signature's bytes.

    Raises:
        SignatureError: It cannot be read or is no signature.
    """
    try:
        with path.open("rb") as file:
            signature = file.read(SIGNATURE_BYTES + 1)
    except OSError as error:
        raise SignatureError(
            f"The signature {path} cannot be read ({error.strerror}): it comes with the package."
        ) from None
    if not 8 <= len(signature) <= SIGNATURE_BYTES:
        raise SignatureError(
            f"{path} is no signature (its size is wrong): get it again with the package."
        )
    return signature


def _read_key(path: Path) -> PublicKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        with path.open("rb") as file:
            data = file.read(KEY_BYTES + 1)
        key = load_pem_public_key(data) if len(data) <= KEY_BYTES else None
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    return None


def _is_by(key: PublicKey, data: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _fingerprint(key: PublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
