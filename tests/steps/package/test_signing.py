from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from steps.contract import StepError
from steps.package.config import PackagePaths
from steps.package.job import package
from steps.package.signing import Signer, open_signer
from tests import moto_server
from tests.steps.package.conftest import CONFIG

MESSAGE = b'{"format": 2}\n' * 1000


def write_key(path: Path, key: Any, password: bytes | None = None) -> str:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    path.chmod(0o600)
    return f"file:{path}"


def openssl_accepts(signer: Signer, message: bytes, signature: bytes, folder: Path) -> bool:
    (folder / "public.pem").write_bytes(
        signer.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (folder / "message").write_bytes(message)
    (folder / "signature").write_bytes(signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public.pem"]
    command += ["-rawin", "-in", "message", "-sigfile", "signature"]
    if signer.algorithm == "ECDSA_SHA_256":
        command += ["-digest", "sha256"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ec.generate_private_key(ec.SECP256R1()), "ECDSA_SHA_256"),
    ],
)
def test_openssl_accepts_the_signature_of_a_key_file(
    key: Any, algorithm: str, tmp_path: Path
) -> None:
    signer = open_signer(write_key(tmp_path / "private.pem", key))
    assert signer is not None
    assert signer.algorithm == algorithm
    signature = signer.sign(MESSAGE)
    assert openssl_accepts(signer, MESSAGE, signature, tmp_path)
    assert not openssl_accepts(signer, MESSAGE + b" ", signature, tmp_path)


def test_no_reference_is_no_signature() -> None:
    assert open_signer("") is None


def test_a_reference_that_is_no_key_is_refused() -> None:
    with pytest.raises(StepError, match=r"is neither file:/path/to/private.pem nor the ARN"):
        open_signer("my-key")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    reference = write_key(tmp_path / "private.pem", ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "private.pem").chmod(0o640)
    with pytest.raises(StepError, match=r"can be read by others \(mode 0640\): chmod 600"):
        open_signer(reference)


def test_what_is_no_fitting_private_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "private.pem"
    with pytest.raises(StepError, match="cannot be read: No such file"):
        open_signer(f"file:{path}")
    path.write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(StepError, match="is not a private key in PEM") as refused:
        open_signer(f"file:{path}")
    assert "hunter2" not in str(refused.value)
    for other in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        reference = write_key(path, other)
        with pytest.raises(StepError, match=r"is neither Ed25519 nor ECDSA on P-256"):
            open_signer(reference)
    reference = write_key(path, ed25519.Ed25519PrivateKey.generate(), b"secret")
    with pytest.raises(StepError, match="is protected by a password"):
        open_signer(reference)


def test_a_signature_that_its_own_key_refuses_is_not_handed_out(tmp_path: Path) -> None:
    signer = open_signer(write_key(tmp_path / "a.pem", ed25519.Ed25519PrivateKey.generate()))
    assert signer is not None
    with pytest.raises(StepError, match="its own public key refuses"):
        replace(signer, sign_unchecked=lambda message: bytes(64)).sign(MESSAGE)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with moto_server.running() as address:
        yield address


@pytest.fixture
def kms(address: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    moto_server.reset(address)
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("kms", region_name="eu-west-1")


def make_key(kms: Any, spec: str = "ECC_NIST_P256") -> str:
    arn = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/signing", TargetKeyId=arn)
    return arn.partition("key/")[0] + "alias/signing"


def test_a_package_is_signed_in_kms_over_the_wire(
    kms: Any, packaged: Path, paths: PackagePaths, tmp_path: Path
) -> None:
    alias = make_key(kms)
    summary = package(paths, replace(CONFIG, signing_key=alias))
    signature = (paths.output / "manifest.sig").read_bytes()
    manifest = (paths.output / "manifest.json").read_bytes()
    signer = open_signer(alias)
    assert signer is not None
    assert summary["signature"] == {"algorithm": "ECDSA_SHA_256", "key": signer.fingerprint}
    assert openssl_accepts(signer, manifest, signature, tmp_path)
    # the signature is in no zip: those have the same bytes whoever signs
    for path in packaged.glob("*.zip"):
        assert (paths.output / path.name).read_bytes() == path.read_bytes()


def test_a_key_of_another_kind_or_none_is_refused(kms: Any) -> None:
    arn = make_key(kms, "ECC_NIST_P384")
    with pytest.raises(StepError, match="is not of the key spec ECC_NIST_P256"):
        open_signer(arn)
    with pytest.raises(StepError, match=r"cannot be used \(NotFoundException: .*deploy the stack"):
        open_signer(arn.replace("alias/signing", "alias/other"))


def test_an_endpoint_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(StepError, match="cannot be reached"):
        open_signer("arn:aws:kms:eu-west-1:111111111111:alias/signing")
