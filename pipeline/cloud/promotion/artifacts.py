"""A version's package and model, wherever they lie: fetched, and compared with what was recorded.

The registry names the package and the hash of its ``package.json``; that names the hashes of the
zips, of the manifest and of the recipe; the signature is the source environment's over the
manifest. One file that is gone or is not what it was, and nothing is promoted.

Leaves out: looking into the zips, which the device does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.cloud.fleet import packages
from pipeline.cloud.fleet.packages import Package
from pipeline.cloud.promotion.versions import (
    MODEL_SHA256,
    PACKAGE_SHA256,
    PACKAGE_URL,
    Version,
)
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.errors import UsageError

_LARGEST = (
    4_000_000  # bytes of a JSON file in a package; the manifest of a hundred files has 20,000
)
_BLOCK = 8 * 1024 * 1024  # bytes
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.+)")


class RefusedError(CloudError):
    """A version that is not promoted, and why: for good, until a person changes something."""


@dataclass(frozen=True)
class Found:
    """What the registry says of a version's package.

    Attributes:
        url: The folder.
        sha256: Of its ``package.json``.
    """

    url: str
    sha256: str


def locate(version: Version) -> Found | None:
    """Where the package of a version is; None if nobody has noted that (yet)."""
    url, sha256 = (version.properties.get(name, "") for name in (PACKAGE_URL, PACKAGE_SHA256))
    return Found(url, sha256) if url and sha256 else None


def fetch(account: Account, found: Found, folder: Path) -> Package:
    """Download the package to ``folder`` and compare it with what was recorded.

    Raises:
        RefusedError: Something of it is gone, or is not what it was.
        CloudError: It could not be read.
    """
    summary = folder / packages.SUMMARY
    if download(account, f"{found.url}/{packages.SUMMARY}", summary) != found.sha256:
        raise RefusedError(
            f"{found.url}/{packages.SUMMARY} is not the file that the registry names (its SHA-256 "
            "differs): it was changed after it was packaged."
        )
    for name in _files_of(summary):
        download(account, f"{found.url}/{name}", folder / name)
    try:
        package = packages.read(folder, account.settings.component_name)
    except UsageError as error:
        said = str(error).replace(str(folder), found.url)
        raise RefusedError(said) from None
    _check_manifest(package, found.url)
    return package


def check_signature(account: Account, package: Package, where: str) -> None:
    """Ask the key of the account whether it signed the package's manifest.

    Raises:
        RefusedError: It did not.
        CloudError: It could not be asked.
    """
    manifest, signature = (
        package.files[name][0].read_bytes() for name in (packages.MANIFEST, packages.SIGNATURE)
    )
    alias = account.settings.signing_key_arn
    try:
        answer = account.call(
            "kms",
            "verify",
            f"verify the signature of {where}",
            KeyId=alias,
            Message=hashlib.sha256(manifest).digest(),  # KMS takes no more than 4 KB of message
            MessageType="DIGEST",
            Signature=signature,
            SigningAlgorithm="ECDSA_SHA_256",
        )
        valid = bool(answer["SignatureValid"])
    except CloudError as error:
        if "KMSInvalidSignature" not in str(error):
            raise
        valid = False
    if not valid:
        raise RefusedError(
            f"{where} is not signed with {account.settings.signing_alias}: only what the pipeline "
            "packaged in the account is promoted."
        )


def out_of_scope_rate(package: Package) -> float | None:
    """What the version rejected of its own test split, by its reference; None where it has none.

    Raises:
        RefusedError: The reference is none of this format.
    """
    if packages.REFERENCE not in package.beside:
        return None
    reference = _json(package.beside[packages.REFERENCE][0])
    counts = cast("dict[str, Any]", reference.get("counts") or {})
    try:
        utterances, rejected = int(reference["utterances"]), int(counts["out_of_scope"])
    except (KeyError, TypeError, ValueError):
        utterances = rejected = -1
    if not 0 <= rejected <= utterances:
        raise RefusedError(f"{packages.REFERENCE} of the package has no counts: package it again.")
    return rejected / utterances if utterances else None


def check_model(account: Account, version: Version) -> str:
    """Read the whole model and compare it with the registry's hash; returns the hash.

    Raises:
        RefusedError: It is gone, or is not what was registered.
        CloudError: It could not be read.
    """
    expected = version.properties.get(MODEL_SHA256, "")
    if not version.model_url or not expected:
        raise RefusedError(
            f"Version {version.number} of {version.group} names no model or no hash of it: "
            "register it with the pipeline or slm push."
        )
    digest = hashlib.sha256()
    body = _body(account, version.model_url)
    with account.errors(f"read {version.model_url}"):
        for block in body.iter_chunks(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise RefusedError(
            f"{version.model_url} is not the model that was registered (its SHA-256 differs): "
            "restore it, or reject this version."
        )
    return expected


def sign(account: Account, manifest: bytes) -> bytes:
    """The signature of the account's key over a manifest.

    Raises:
        CloudError: The key may not be used, or there is none.
    """
    alias = account.settings.signing_key_arn
    answer = account.call(
        "kms",
        "sign",
        f"sign with {alias}",
        KeyId=alias,
        Message=hashlib.sha256(manifest).digest(),
        MessageType="DIGEST",
        SigningAlgorithm="ECDSA_SHA_256",
    )
    return bytes(answer["Signature"])


def download(account: Account, address: str, path: Path) -> str:
    """Bring an object to ``path``; returns its SHA-256.

    Raises:
        RefusedError: It is gone, or lies in a bucket that is not the environment's.
        CloudError: It could not be read.
    """
    body = _body(account, address)
    digest = hashlib.sha256()
    with account.errors(f"read {address}"), path.open("wb") as file:
        for block in body.iter_chunks(_BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def split(address: str) -> tuple[str, str]:
    """Bucket and key of an address.

    Raises:
        RefusedError: It is none of S3.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise RefusedError(f"{address[:200]!r} is no address in S3: package the version again.")
    return match[1], match[2]


def _files_of(summary: Path) -> list[str]:
    """What a package consists of beside its summary."""
    content = _json(summary)
    archives = content.get("archives")
    named = [one.get("zip") for one in cast("dict[str, Any]", archives or {}).values()]
    names = [*named, packages.MANIFEST, packages.SIGNATURE, packages.RECIPE]
    if "reference_sha256" in content:
        names.append(packages.REFERENCE)
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name):
            raise RefusedError(f"{packages.SUMMARY} names the file {name!r}: package it again.")
    return [str(name) for name in names]


def _check_manifest(package: Package, where: str) -> None:
    """The signed manifest is of this component and version, and not of another one's."""
    manifest = _json(package.files[packages.MANIFEST][0])
    told = (manifest.get("component", package.name), manifest.get("version"))
    if told != (package.name, package.version):
        raise RefusedError(
            f"{where}/{packages.MANIFEST} is of {told[0]} {told[1]} and not of {package.name} "
            f"{package.version}: package the version again."
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("size")
        value: object = json.loads(path.read_bytes())
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RefusedError(f"{path.name} of the package is no JSON object: package it again.")
    return cast("dict[str, Any]", value)


def _body(account: Account, address: str) -> Any:
    bucket, key = split(address)
    settings = account.settings
    if bucket not in settings.buckets.values():
        raise RefusedError(
            f"{address} lies in none of the buckets of {settings.name}: promote what lies in them."
        )
    try:
        answer = account.call(
            "s3",
            "get_object",
            f"read {address}",
            Bucket=bucket,
            Key=key,
            ExpectedBucketOwner=settings.account,
        )
    except MissingError:
        raise RefusedError(
            f"{address} is gone: restore it, or package the version again."
        ) from None
    return answer["Body"]


def token(text: str) -> str:
    """A short name for ``text`` that is the same each time, for requests that may be repeated."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:32]
