"""The step as one function: check the compiled files, zip them with the runtime, describe both.

The zip holds ``edge/`` (the runtime's source), ``model/`` (the compiled folder), ``wheels/`` (a
note until wheels are vendored), ``requirements.txt`` and ``manifest.json``; it works from an empty
folder with the three distributions that it lists. What it leaves out: the signature. A signer puts
``manifest.sig``, over the bytes of ``manifest.json``, beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from edge.folder import MODEL, RECORD, RULE, TOKENIZER
from steps.contract import StepError, read_json, write_json, write_text
from steps.package.archive import write_zip
from steps.package.config import PackageConfig, PackagePaths
from steps.package.recipe import build_recipe, component_version

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
RUNTIME = ("numpy", "onnxruntime", "tokenizers")
_WHEELS_NOTE = "Wheels that stand here are installed without a network.\n"


def package(paths: PackagePaths, config: PackageConfig) -> dict[str, Any]:
    """Write the *package* folder and return what stands in its ``package.json``.

    Raises:
        StepError: The compiled folder is incomplete, was altered, missed the parity gate or
            belongs to another registered version.
    """
    registration = read_json(
        paths.registration / "registration.json", "The registration of the model"
    )
    record = read_json(paths.compiled / RECORD, "The record of the compilation")
    number = _check_record(paths, record, registration)
    version = component_version(number)
    files: dict[str, bytes | Path] = {
        f"model/{name}": paths.compiled / name for name in (MODEL, TOKENIZER, RULE)
    }
    files[f"model/{RECORD}"] = _device_record(record)
    files |= _runtime_source()
    files["requirements.txt"] = _requirements(record)
    files["wheels/README.txt"] = _WHEELS_NOTE.encode()
    manifest = build_manifest(files, config.component_name, version, str(number))
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    archive = paths.output / f"{config.component_name}.zip"
    paths.output.mkdir(parents=True, exist_ok=True)
    write_zip(archive, {**files, MANIFEST: text.encode()})
    # a signature that an earlier run left would be of another manifest
    (paths.output / SIGNATURE).unlink(missing_ok=True)
    write_text(paths.output / MANIFEST, text)
    write_json(paths.output / "recipe.json", build_recipe(config, version))
    summary = {
        "name": config.component_name,
        "version": version,
        "model_version": str(number),
        "zip": archive.name,
        "sha256": _sha256(archive),
        "bytes": archive.stat().st_size,
        "files": len(files) + 1,
        "signature": None,
    }
    write_json(paths.output / "package.json", summary)
    return summary


def build_manifest(
    files: dict[str, bytes | Path], name: str, version: str, model_version: str
) -> dict[str, Any]:
    """SHA-256 and size in bytes of every file of the component but the manifest itself."""
    return {
        "component": name,
        "version": version,
        "model_version": model_version,
        "files": {
            path: {"sha256": _sha256(content), "bytes": _size(content)}
            for path, content in files.items()
        },
    }


def _check_record(paths: PackagePaths, record: Any, registration: Any) -> int:
    """The registered version, after the compiled folder was found to be of it and unaltered."""
    where = paths.compiled / RECORD
    try:
        number = int(registration["version"])
        compiled_from, passed = str(record["model_version"]), int(record["parity"]["passed"])
        message = str(record["parity"]["message"])
        hashes = {name: str(record["files"][name]["sha256"]) for name in (MODEL, TOKENIZER, RULE)}
    except (KeyError, TypeError, ValueError) as error:
        raise StepError(
            f"{where} or registration.json is not as compile and register write them "
            f"({error!r}): compile the model again."
        ) from None
    if compiled_from != str(number):
        raise StepError(
            f"{where} is of model version {compiled_from} but version {number} is to be "
            "packaged: compile this version first."
        )
    if passed != 1:
        raise StepError(f"{where} missed the parity gate and is not packaged: {message}.")
    for name, expected in hashes.items():
        path = paths.compiled / name
        if not path.is_file():
            raise StepError(f"{path} is missing: compile the model again.")
        if _sha256(path) != expected:
            raise StepError(
                f"{path} is not the file that {RECORD} records (its SHA-256 differs): it was "
                "altered after compilation, compile the model again."
            )
    return number


def _device_record(record: dict[str, Any]) -> bytes:
    """What the device needs of the record: nothing that was timed, so that compiling the same
    model again gives the same component."""
    kept = {key: record[key] for key in ("files", "model_version", "parity")}
    return (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode()


def _runtime_source() -> dict[str, bytes | Path]:
    import edge

    folder = Path(edge.__file__).parent
    return {f"edge/{path.name}": path for path in folder.glob("*.py")}


def _requirements(record: dict[str, Any]) -> bytes:
    """The distributions that compile measured with, pinned."""
    lines: list[str] = []
    for name in RUNTIME:
        version = str(record.get("versions", {}).get(name, ""))
        if not re.fullmatch(r"[0-9A-Za-z.+!]+", version):
            raise StepError(f"{RECORD} does not say which {name} it was measured with.")
        # a local build's suffix names no release that a device could install
        lines.append(f"{name}=={version.partition('+')[0]}\n")
    return "".join(lines).encode()


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
