"""A version of this machine's registry into a folder: promotion without an account.

    FOLDER/components/NAME/VERSION/    the package: a device installs its zip
    FOLDER/promotions/GROUP/N.json     what was promoted, when, and why not
    FOLDER/current.json                the version that devices of this folder should have

The same rules hold: approved in MLflow, and only that; the package's hash as *package* noted it;
the signature of this machine's key; never older than what is there. The bytes are copied beside
their place and renamed, and ``current.json`` is replaced last, so that what reads the folder never
sees half a version. There is no canary: a folder has no devices that tell.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.cloud.fleet import packages, releasing
from pipeline.cloud.fleet.packages import Package
from pipeline.cloud.promotion.versions import APPROVED, PACKAGE_SHA256, PACKAGE_URL, PREFIX
from pipeline.errors import PipelineError, UsageError
from pipeline.local import open_storage
from pipeline.local.signing import FOLDER as SIGNING
from pipeline.local.signing import PUBLIC
from pipeline.local.storage import FolderStorage

STATUS = "approval_status"
"""The tag of steps/registry/mlflow_registry.py."""
CURRENT = "current.json"


@dataclass(frozen=True)
class Promoted:
    """What the folder has now.

    Attributes:
        new: False when it was there already.
    """

    group: str
    version: str
    component: str
    place: Path
    new: bool


def promote(home: Path, group: str, component: str, version: str | None, folder: Path) -> Promoted:
    """Copy an approved version's package into ``folder``.

    Args:
        home: The runner's, with the registry and the runs.
        component: The component's name.
        version: Its number in the registry; the newest approved one when None.

    Raises:
        UsageError: There is no such version.
        PipelineError: It is refused, which is recorded in both places.
    """
    client = _client(home)
    found = _find(client, group, version)
    number, tags = str(found.version), dict(found.tags)
    try:
        package = _verified(home, group, number, tags, component, folder)
        place, new = _copy(package, folder)
    except PipelineError as error:
        _record(client, folder, group, number, "refused", str(error), {})
        raise
    details = {"component": package.version, PACKAGE_SHA256: tags[PACKAGE_SHA256]}
    words = f"{package.name} {package.version} in {folder}"
    if new or _current(folder) != package.version:
        _record(client, folder, group, number, "done", words, details)
        _write(folder / CURRENT, {"component": package.name, "version": package.version})
    return Promoted(group, number, package.version, place, new)


def _verified(
    home: Path, group: str, number: str, tags: Mapping[str, str], component: str, folder: Path
) -> Package:
    if tags.get(STATUS) != APPROVED:
        raise PipelineError(
            f"Version {number} of {group} is {tags.get(STATUS, 'not approved')}: set its tag "
            f"{STATUS} to {APPROVED} in slm ui first."
        )
    source = _package_of(home, group, number, tags)
    try:
        package = packages.read(source, component)
    except UsageError as error:
        raise PipelineError(str(error)) from None
    _check_signature(home, package)
    current = _current(folder)
    if current and releasing.order(current) > releasing.order(package.version):
        raise PipelineError(
            f"{folder} has {current}, which is newer than {package.version}: a version is not "
            "replaced by an older one."
        )
    return package


def _package_of(home: Path, group: str, number: str, tags: Mapping[str, str]) -> Path:
    url, sha256 = tags.get(PACKAGE_URL, ""), tags.get(PACKAGE_SHA256, "")
    storage = open_storage(home)
    if not url or not sha256 or not isinstance(storage, FolderStorage):
        raise PipelineError(
            f"Version {number} of {group} has no package that is noted with it: run the pipeline "
            "to its end."
        )
    source = storage.path(url)
    summary = source / packages.SUMMARY
    if not summary.is_file():
        raise PipelineError(f"{summary} is gone: run the pipeline again.")
    if hashlib.sha256(summary.read_bytes()).hexdigest() != sha256:
        raise PipelineError(
            f"{summary} is not the file that the registry names (its SHA-256 differs): it was "
            "changed after it was packaged."
        )
    return source


def _check_signature(home: Path, package: Package) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    path = home / SIGNING / PUBLIC
    manifest, signature = (
        package.files[name][0].read_bytes() for name in (packages.MANIFEST, packages.SIGNATURE)
    )
    try:
        key = load_pem_public_key(path.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidSignature
        key.verify(signature, manifest)
    except (OSError, ValueError, InvalidSignature):
        raise PipelineError(
            f"{package.folder} is not signed with {path}, this machine's key: package it again."
        ) from None


def _copy(package: Package, folder: Path) -> tuple[Path, bool]:
    """The package's files, complete or not at all; and whether they are new."""
    place = folder / "components" / package.name / package.version
    files = {**package.files, **package.beside}
    if place.is_dir():
        there = {name: _sha256(place / name) for name in files if (place / name).is_file()}
        names = (packages.MANIFEST, *(name for name in files if name.endswith(".zip")))
        if any(there.get(name) != files[name][1] for name in names):
            raise PipelineError(
                f"{place} holds another package of that version: a version never changes, so "
                "train again."
            )
        return place, False
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        for name, (path, sha256) in files.items():
            shutil.copyfile(path, partial / name)
            if _sha256(partial / name) != sha256:
                raise PipelineError(f"{path} changed while it was copied: promote again.")
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return place, True


def _current(folder: Path) -> str:
    try:
        return str(json.loads((folder / CURRENT).read_bytes())["version"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):
        raise PipelineError(
            f"{folder / CURRENT} names no version: remove it, or mend it."
        ) from None


def _record(
    client: Any,
    folder: Path,
    group: str,
    number: str,
    state: str,
    words: str,
    details: Mapping[str, str],
) -> None:
    """In the folder and in the registry, what became of the version."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    told = {"group": group, "version": number, "state": state, "words": words, "at": at, **details}
    _write(folder / "promotions" / group / f"{number}.json", told)
    for name, text in (("state", state), ("target", folder.name), ("ended", f"{at} {words}")):
        client.set_model_version_tag(group, number, PREFIX + name, text)


def _write(path: Path, value: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _client(home: Path) -> Any:
    database = home / "mlflow.db"
    if not database.is_file():
        raise UsageError(f"{database} is not there: start with slm run.")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow import MlflowClient

    uri = f"sqlite:///{database.absolute().as_posix()}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _find(client: Any, group: str, version: str | None) -> Any:
    if version is not None and not version.isdecimal():
        raise UsageError(f"{version!r} is not a version: give its number.")
    found = client.search_model_versions(
        f"name = '{group}'", order_by=["version_number DESC"], max_results=1000
    )
    for one in found:
        if str(one.version) == version or (version is None and one.tags.get(STATUS) == APPROVED):
            return one
    what = f"There is no version {version}" if version else "No version is approved"
    raise UsageError(f"{what} of {group} in this machine's registry: see slm ui.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
