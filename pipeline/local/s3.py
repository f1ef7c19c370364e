"""``s3://`` through the S3 API: AWS's own, or an emulator's at another endpoint.

An object appears whole, but a prefix appears object by object: when an upload fails half way,
what it had put there is deleted again.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.local.errors import StorageError
from pipeline.local.storage import Manifest, Pulse, disk_errors, parse_address

_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"})
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


class S3Storage:
    """The same as FolderStorage, at ``endpoint_url``."""

    def __init__(self, endpoint_url: str) -> None:
        import boto3  # pyright: ignore[reportMissingTypeStubs]
        from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

        self._endpoint = endpoint_url
        config = Config(retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=10)
        # the stubs of boto3 describe thousands of services: what is used here is four calls
        session: Any = boto3.Session()
        region = session.region_name or "us-east-1"
        self._client: Any = session.client(
            "s3", endpoint_url=endpoint_url, region_name=region, config=config
        )

    def fetch(self, uri: str, folder: Path, pulse: Pulse) -> None:
        """Download the object, or everything below the address, into ``folder``."""
        address = parse_address(uri)
        objects = self._objects(uri)
        if not objects:
            raise StorageError(f"Nothing is stored at {uri} (at {self._endpoint}).")
        for name, entry in objects.items():
            pulse()
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise StorageError(f"{uri} holds a key that leaves its folder: {name!r}.")
            with disk_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._errors(uri):
                    self._client.download_file(address.bucket, entry["key"], str(target))

    def publish_folder(self, folder: Path, uri: str, kms_key: str | None, pulse: Pulse) -> None:
        """Upload what ``folder`` holds."""
        done: list[str] = []
        try:
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                pulse()
                target = f"{uri.rstrip('/')}/{file.relative_to(folder).as_posix()}"
                self.publish_file(file, target, kms_key)
                done.append(target)
        except BaseException:
            for target in done:
                address = parse_address(target)
                with suppress(StorageError), self._errors(target):
                    self._client.delete_object(Bucket=address.bucket, Key=address.key)
            raise

    def publish_file(self, file: Path, uri: str, kms_key: str | None) -> None:
        """Upload one file; ``kms_key`` encrypts it with SSE-KMS."""
        address = parse_address(uri)
        extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        with self._errors(uri):
            self._client.upload_file(str(file), address.bucket, address.key, ExtraArgs=extra)

    def read(self, uri: str) -> bytes:
        """The content of one object."""
        address = parse_address(uri)
        with self._errors(uri):
            response = self._client.get_object(Bucket=address.bucket, Key=address.key)
            content: bytes = response["Body"].read()
        return content

    def manifest(self, uri: str, pulse: Pulse) -> Manifest:
        """Size and ETag of everything at the address.

        Raises:
            StorageError: Nothing is stored there.
        """
        objects = self._objects(uri)
        if not objects:
            raise StorageError(f"Nothing is stored at {uri} (at {self._endpoint}).")
        return {
            name: {"etag": entry["etag"], "size": entry["size"]} for name, entry in objects.items()
        }

    def unchanged(self, uri: str, recorded: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether what is stored is what a manifest recorded."""
        return bool(recorded) and {
            name: {"etag": entry["etag"], "size": entry["size"]}
            for name, entry in self._objects(uri).items()
        } == dict(recorded)

    def shared_folder(self, uri: str) -> Path | None:
        """None: a bucket is not a folder."""
        return None

    def mirror(self, folder: Path, uri: str, kms_key: str | None) -> CheckpointMirror:
        """Keeps ``folder`` at the address while a job runs."""
        return CheckpointMirror(self, folder, uri, kms_key)

    def holds(self, uri: str) -> bool:
        """Whether anything is stored at the address."""
        return bool(self._objects(uri))

    def _objects(self, uri: str) -> dict[str, dict[str, str]]:
        """Key, ETag and size by name relative to the address."""
        address = parse_address(uri)
        found: dict[str, dict[str, str]] = {}
        with self._errors(uri):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=address.bucket, Prefix=address.key
            )
            for page in pages:
                for item in page.get("Contents", []):
                    name = _relative(item["Key"], address.key)
                    if name:
                        found[name] = {
                            "key": item["Key"],
                            "etag": item["ETag"].strip('"'),
                            "size": str(item["Size"]),
                        }
        return found

    @contextmanager
    def _errors(self, uri: str) -> Generator[None]:
        from boto3.exceptions import Boto3Error  # pyright: ignore[reportMissingTypeStubs]
        from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

        try:
            yield
        except ClientError as error:
            response: Any = error.response
            code = str(response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                message = f"Nothing is stored at {uri} (at {self._endpoint})."
                raise StorageError(message) from None
            kind = "Step.THROTTLING" if code in _THROTTLED else None
            if response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
                kind = kind or "Step.SERVICE_FAULT"
            message = f"S3 at {self._endpoint} refused {uri}: {error}."
            raise StorageError(message, kind) from None
        except (BotoCoreError, Boto3Error) as error:
            message = f"S3 at {self._endpoint} cannot be used for {uri}: {error}."
            raise StorageError(message, "Step.SERVICE_FAULT") from None


class CheckpointMirror:
    """Keeps a folder of checkpoints in S3: as SageMaker does, it uploads and never deletes.

    The oldest change goes first, so that a file that vouches for others arrives after them.
    """

    def __init__(self, storage: S3Storage, folder: Path, uri: str, kms_key: str | None) -> None:
        self._storage = storage
        self._folder = folder
        self._uri = uri
        self._kms_key = kms_key
        self._stored: dict[Path, tuple[int, int]] = {}

    def restore(self, pulse: Pulse) -> None:
        """Download what an earlier attempt left, if anything."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._storage.holds(self._uri):
            self._storage.fetch(self._uri, self._folder, pulse)
        self._stored = self._current()

    def store(self) -> None:
        """Upload what has changed."""
        current = self._current()
        for file in sorted(current, key=lambda file: current[file][1]):
            if self._stored.get(file) != current[file]:
                target = f"{self._uri.rstrip('/')}/{file.relative_to(self._folder).as_posix()}"
                snapshot = self._folder.with_name(".checkpoint-upload")
                snapshot.unlink(missing_ok=True)
                with suppress(FileNotFoundError):  # renamed or removed by the job just now
                    # a second name of the same bytes, which the job's next rename leaves alone
                    os.link(file, snapshot)
                    self._storage.publish_file(snapshot, target, self._kms_key)
                    self._stored[file] = current[file]
                    snapshot.unlink()

    def _current(self) -> dict[Path, tuple[int, int]]:
        found: dict[Path, tuple[int, int]] = {}
        for file in self._folder.rglob("*"):
            if any(part.startswith(".") for part in file.relative_to(self._folder).parts):
                continue  # being written
            with suppress(FileNotFoundError):  # renamed or removed by the job just now
                if file.is_file():
                    status = file.stat()
                    found[file] = (status.st_size, status.st_mtime_ns)
        return found


def _relative(key: str, prefix: str) -> str:
    """The part of a key below ``prefix``; empty for a folder marker or a mere namesake."""
    if key.endswith("/"):
        return ""
    if key == prefix:
        return key.rpartition("/")[2]
    if not prefix:
        return key
    return key[len(prefix) + 1 :] if key.startswith(f"{prefix}/") else ""
