"""Signs the component's manifest, with a key file or in KMS.

``SLM_SIGNING_KEY`` says with what: ``file:/path/private.pem`` (Ed25519 or ECDSA on P-256, PEM
without a password), or the ARN of an asymmetric KMS key or of its alias; empty means that the
component is not signed. The signature is the raw one of the algorithm over the manifest's bytes, so
that ``openssl`` can check it: 64 bytes of Ed25519, or ECDSA with SHA-256 in DER. Every signature is
checked with the public key before it is handed out.

What it leaves out: making keys, and telling devices which to trust. A private key is read, used and
forgotten; nothing of it is printed or stands in an error.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps.contract import StepError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNING_KEY_VARIABLE = "SLM_SIGNING_KEY"
ED25519 = "Ed25519"
ECDSA = "ECDSA_SHA_256"
"""As KMS calls ECDSA on P-256 with SHA-256."""
_FILE = "file:"
_KMS = re.compile(r"arn:aws[\w-]*:kms:(?P<region>[a-z0-9-]+):\d{12}:(key|alias)/[\w/-]+")


@dataclass(frozen=True)
class Signer:
    """A key that signs."""

    name: str
    """What to call the key in a sentence."""
    public_key: Ed25519PublicKey | EllipticCurvePublicKey
    sign_unchecked: Callable[[bytes], bytes]

    @property
    def algorithm(self) -> str:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return ED25519 if isinstance(self.public_key, Ed25519PublicKey) else ECDSA

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key's DER, in hexadecimal."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        spki = self.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()

    def sign(self, message: bytes) -> bytes:
        """A signature of ``message`` that the public key was seen to accept.

        Raises:
            StepError: The key cannot be used, or gave a signature that is not its own.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

        signature = self.sign_unchecked(message)
        try:
            if isinstance(self.public_key, EllipticCurvePublicKey):
                self.public_key.verify(signature, message, _ecdsa())
            else:
                self.public_key.verify(signature, message)
        except InvalidSignature:
            raise StepError(
                f"{self.name} gave a signature that its own public key refuses: the component is "
                "not signed, package it again."
            ) from None
        return signature


def open_signer(reference: str) -> Signer | None:
    """The key that ``reference`` names; None when it is empty.

    Raises:
        StepError: There is no such key, it may not be used, or it is of another kind.
    """
    if not reference:
        return None
    if reference.startswith(_FILE):
        return _file_signer(Path(reference.removeprefix(_FILE)))
    match = _KMS.fullmatch(reference)
    if match is None:
        raise StepError(
            f"{SIGNING_KEY_VARIABLE} is neither file:/path/to/private.pem nor the ARN of a KMS key "
            "or alias: name one of them, or leave it empty for a component without a signature."
        )
    return _kms_signer(reference, match["region"])


def _ecdsa() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA as SCHEME
    from cryptography.hazmat.primitives.hashes import SHA256

    return SCHEME(SHA256())


def _file_signer(path: Path) -> Signer:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    name = f"The signing key {path}"
    data = _read_private(path, name)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise StepError(
            f"{name} is protected by a password, which a job cannot be asked for: use one without, "
            "readable by you alone, or a key in KMS."
        ) from None
    except (ValueError, UnsupportedAlgorithm):  # their messages could quote the file
        raise StepError(f"{name} is not a private key in PEM: give the file of one.") from None
    if isinstance(key, Ed25519PrivateKey):
        return Signer(name, key.public_key(), key.sign)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return Signer(name, key.public_key(), lambda message: key.sign(message, _ecdsa()))
    raise StepError(f"{name} is neither Ed25519 nor ECDSA on P-256: make one of those.")


def _read_private(path: Path, name: str) -> bytes:
    """The file's bytes, if nobody else may read them."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise StepError(
                    f"{name} can be read by others (mode {mode:04o}): chmod 600 it, and replace it "
                    "if it may have been copied."
                )
            return file.read()
    except OSError as error:
        raise StepError(f"{name} cannot be read: {error.strerror}.") from None


def _kms_signer(arn: str, region: str) -> Signer:
    import boto3
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    name = f"The signing key {arn}"
    client: Any = boto3.client("kms", region_name=region)
    answer = _ask(name, client.get_public_key, KeyId=arn)
    public = load_der_public_key(answer["PublicKey"])
    if not (isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1)):
        raise StepError(
            f"{name} is not of the key spec ECC_NIST_P256: make the key with that one, for "
            "signing and verifying."
        )

    def sign(message: bytes) -> bytes:
        # KMS takes no more than 4 KB of message
        answer = _ask(
            name,
            client.sign,
            KeyId=arn,
            Message=hashlib.sha256(message).digest(),
            MessageType="DIGEST",
            SigningAlgorithm=ECDSA,
        )
        return answer["Signature"]

    return Signer(name, public, sign)


def _ask(name: str, call: Callable[..., Any], **arguments: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        said = error.response.get("Error", {})
        code, message = said.get("Code", "unknown"), said.get("Message", "")
        what = {
            "AccessDeniedException": "the role needs kms:GetPublicKey and kms:Sign on it",
            "NotFoundException": "deploy the stack that makes it, or name another",
            "DisabledException": "enable it",
        }.get(code, "see the message of KMS")
        reason = " ".join(str(message).split())[:200].rstrip(".")
        raise StepError(f"{name} cannot be used ({code}: {reason}): {what}.") from None
    except BotoCoreError as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise StepError(f"{name} cannot be reached ({reason}): check region and network.") from None
