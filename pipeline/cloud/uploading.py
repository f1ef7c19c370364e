"""Uploads a dataset to ``s3://<raw bucket>/datasets/<name>/``: the files first, the manifest last.

The manifest's arrival starts retraining, so everything that it names has to be there before. What
an earlier upload left and the new manifest does not name stays and is not read any more, so that
nobody who imports datasets needs to be allowed to delete any.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.cloud.encrypted import Bucket
from pipeline.cloud.session import Account
from pipeline.datasets_manifest import MANIFEST, differences, manifest_of, read_manifest
from pipeline.local.errors import PipelineError


@dataclass(frozen=True)
class Uploaded:
    """What became of an upload.

    Attributes:
        new: False when the account had this very dataset already; nothing was then done.
    """

    address: str
    files: int
    bytes: int
    new: bool


def upload(
    account: Account, folder: Path, name: str | None, say: Callable[[str], None]
) -> Uploaded:
    """Upload the dataset in ``folder``; ``say`` is called before each file.

    Raises:
        UsageError: The folder holds no data, or the name is no dataset's.
        PipelineError: Its manifest is of other files.
        CloudError: The account refused something; no new manifest has been written then.
    """
    manifest = _checked(folder, name)
    settings = account.settings
    prefix = f"{settings.datasets_prefix}/{manifest['dataset']}"
    bucket = Bucket(account, settings.raw_bucket)
    address = f"s3://{bucket.name}/{prefix}"
    sizes = [int(entry["bytes"]) for entry in manifest["files"]]
    if _stored(bucket, f"{prefix}/{MANIFEST}") == manifest:
        return Uploaded(address, len(sizes), sum(sizes), new=False)
    for entry in manifest["files"]:
        say(f"{address}/{entry['path']}")
        bucket.upload(folder / entry["path"], f"{prefix}/{entry['path']}", entry["sha256"])
    say(f"{address}/{MANIFEST}")
    bucket.write(f"{prefix}/{MANIFEST}", _bytes(manifest), "application/json")
    return Uploaded(address, len(sizes), sum(sizes), new=True)


def _checked(folder: Path, name: str | None) -> dict[str, Any]:
    """The manifest of what is in the folder, which the one that stands there must not deny."""
    recorded = read_manifest(folder)
    if name is None and recorded is not None:
        name = str(recorded.get("dataset", "")) or None
    found = manifest_of(folder, name)
    if recorded is not None:
        apart = differences(recorded, found)
        if apart:
            raise PipelineError(
                f"{folder / MANIFEST} is of other files ({', '.join(apart[:3])} differ or are "
                "missing): import the dataset again, or delete the manifest to upload what is "
                "there."
            )
    return found


def _stored(bucket: Bucket, key: str) -> dict[str, Any] | None:
    """The manifest that the account has; None where it has none that can be read."""
    content = bucket.read(key)
    if content is None:
        return None
    try:
        value: object = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _bytes(manifest: dict[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()
