"""Packing and unpacking ``model.tar.gz``, which comes from outside and is not to be trusted."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

from steps.contract import StepError

MODEL_ARCHIVE = "model.tar.gz"

# Python before 3.11.4 (Debian 12 has 3.11.2) knows no filters; unsafe members are refused anyway
_EXTRACTION: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def model_folder(channel: Path, scratch: Path) -> Path:
    """The model folder in ``channel``: as it stands, or unpacked from its ``model.tar.gz``.

    Args:
        channel: What the job was given: a folder with ``model.tar.gz`` or an unpacked model.
        scratch: A folder to unpack into.

    Raises:
        StepError: There is no model, or the archive is damaged or unsafe.
    """
    if (channel / "training.json").is_file():
        return channel
    archive = channel / MODEL_ARCHIVE
    if not archive.is_file():
        raise StepError(
            f"No model in {channel}: expected {MODEL_ARCHIVE} or an unpacked model folder."
        )
    return unpack(archive, scratch)


def unpack(archive: Path, destination: Path) -> Path:
    """Unpack ``archive`` into ``destination``, all of it or nothing.

    Only plain files and folders inside the destination are accepted: links, devices, absolute
    paths and ``..`` end the job before anything is written.

    Raises:
        StepError: The archive is damaged, or holds a member that is refused.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".unpack-", dir=destination.parent))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            for member in members:
                _refuse_unsafe(archive, member)
            tar.extractall(partial, members=members, **_EXTRACTION)  # noqa: S202 - checked above
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise StepError(
            f"{archive} is not a readable model archive ({error}): train or download it again."
        ) from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if destination.exists():
        shutil.rmtree(destination)
    partial.replace(destination)
    return destination


def _refuse_unsafe(archive: Path, member: tarfile.TarInfo) -> None:
    parts = Path(member.name).parts
    if member.issym() or member.islnk():
        problem = "a link"
    elif not (member.isfile() or member.isdir()):
        problem = "neither a file nor a folder"
    elif Path(member.name).is_absolute() or ".." in parts:
        problem = "a path that leads outside the archive"
    else:
        return
    raise StepError(
        f"{archive} was tampered with: member {member.name!r} is {problem}; "
        "nothing was unpacked, use the archive that the training job wrote."
    )


def pack(folder: Path, archive: Path) -> Path:
    """Pack ``folder`` into ``archive``; the same files give the same bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f".{archive.name}.partial")
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(folder.rglob("*")):
            info = tar.gettarinfo(path, arcname=path.relative_to(folder).as_posix())
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            if path.is_file():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    partial.replace(archive)
    return archive
