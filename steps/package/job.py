"""The step as one function: check the compiled files, pack them with the runtime, sign, describe.

Each architecture gets a zip with ``edge/`` (the runtime's source), ``model/`` (the compiled
folder), ``wheels/`` where there are any, ``requirements.txt`` and ``manifest.json``; it works from
an empty folder. The signature lies beside the zips, because that of ECDSA differs each time and a
component's bytes must not; so does the reference that the devices' counts are compared with, which
is no concern of theirs. What it leaves out: publishing, which ``slm fleet deploy`` does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edge.folder import MODEL, RECORD, RULE, TOKENIZER
from steps.compile.reference import REFERENCE
from steps.compile.selftest import SELFTEST
from steps.contract import StepError, read_json, write_json
from steps.package.archive import write_bytes, write_zip
from steps.package.config import PYTHON, PackageConfig, PackagePaths
from steps.package.manifest import MANIFEST, Component, Content, describe
from steps.package.recipe import (
    ARCHITECTURES,
    SIGNATURE,
    Contents,
    archive_name,
    build_recipe,
    component_version,
)
from steps.package.requirements import Pin, read_pins
from steps.package.signing import open_signer
from steps.package.wheels import find_wheels

MODEL_FILES = (MODEL, TOKENIZER, RULE, SELFTEST)
MEASURED = ("numpy", "onnxruntime", "tokenizers")
"""The distributions that decide what the model answers: the device gets what compile measured."""


def package(paths: PackagePaths, config: PackageConfig) -> dict[str, Any]:
    """Write the *package* folder and return what stands in its ``package.json``.

    Raises:
        StepError: The compiled folder is incomplete, was altered, missed the parity gate, belongs
            to another registered version or was measured with other distributions than the device
            gets; wheels are missing; or the signing key cannot be used.
    """
    component = _component(paths, config)
    text = component.manifest()
    signer = open_signer(config.signing_key)
    signature = signer.sign(text) if signer else None
    paths.output.mkdir(parents=True, exist_ok=True)
    write_bytes(paths.output / MANIFEST, text)
    if signature is None:
        # one that an earlier run left would be of another manifest
        (paths.output / SIGNATURE).unlink(missing_ok=True)
    else:
        write_bytes(paths.output / SIGNATURE, signature)
    summary = {
        "name": component.name,
        "version": component.version,
        "model_version": component.model_version,
        "python": PYTHON,
        "wheels": bool(component.wheels),
        "archives": {name: _pack(component, name, paths.output) for name in ARCHITECTURES},
        "manifest_sha256": describe(text)["sha256"],
        "reference_sha256": describe(paths.compiled / REFERENCE)["sha256"],
        "files": len(json.loads(text)["files"]) + 1,
        "signature": {"algorithm": signer.algorithm, "key": signer.fingerprint} if signer else None,
    }
    contents = Contents(
        component.version,
        describe(component.files["requirements.txt"])["sha256"],
        wheels=bool(component.wheels),
        signed=signature is not None,
    )
    write_bytes(paths.output / REFERENCE, (paths.compiled / REFERENCE).read_bytes())
    write_json(paths.output / "recipe.json", build_recipe(config, contents))
    summary["recipe_sha256"] = describe(paths.output / "recipe.json")["sha256"]
    write_json(paths.output / "package.json", summary)
    return summary


def _pack(component: Component, architecture: str, folder: Path) -> dict[str, Any]:
    path = folder / f"{archive_name(component.name, architecture)}.zip"
    write_zip(path, component.contents(architecture))
    return {"zip": path.name, **describe(path)}


def _component(paths: PackagePaths, config: PackageConfig) -> Component:
    registration = read_json(
        paths.registration / "registration.json", "The registration of the model"
    )
    record = read_json(paths.compiled / RECORD, "The record of the compilation")
    number = _check_record(paths, record, registration)
    pins = read_pins(paths.requirements)
    _check_versions(paths, record, pins)
    files: dict[str, Content] = {f"model/{name}": paths.compiled / name for name in MODEL_FILES}
    files[f"model/{RECORD}"] = _device_record(record)
    files |= _runtime_source()
    files["requirements.txt"] = "".join(pin.line for pin in pins).encode()
    return Component(
        config.component_name,
        component_version(number),
        str(number),
        pins,
        files,
        _wheels(paths.wheels, pins),
    )


def _check_record(paths: PackagePaths, record: Any, registration: Any) -> int:
    """The registered version, after the compiled folder was found to be of it and unaltered."""
    where = paths.compiled / RECORD
    try:
        number = int(registration["version"])
        compiled_from, passed = str(record["model_version"]), int(record["parity"]["passed"])
        message = str(record["parity"]["message"])
        hashes = {name: str(record["files"][name]["sha256"]) for name in MODEL_FILES}
        hashes[REFERENCE] = str(record["reference"]["sha256"])
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
        if describe(path)["sha256"] != expected:
            raise StepError(
                f"{path} is not the file that {RECORD} records (its SHA-256 differs): it was "
                "altered after compilation, compile the model again."
            )
    return number


def _check_versions(paths: PackagePaths, record: dict[str, Any], pins: tuple[Pin, ...]) -> None:
    """What the model was measured with is what the device installs."""
    wanted = {pin.name: pin.version for pin in pins}
    measured: dict[str, Any] = record.get("versions") or {}
    for name in MEASURED:
        # a local build's suffix names no release that a device could install
        version = str(measured.get(name, "")).partition("+")[0]
        if not re.fullmatch(r"[0-9A-Za-z.!]+", version):
            raise StepError(
                f"{paths.compiled / RECORD} does not say which {name} it was measured with: "
                "compile the model again."
            )
        if version != wanted.get(name):
            raise StepError(
                f"{paths.compiled / RECORD} was measured with {name} {version} but the device "
                f"installs {wanted.get(name, 'none')}, as {paths.requirements} says: compile with "
                "the pinned version."
            )


def _device_record(record: dict[str, Any]) -> bytes:
    """What the device needs of the record: nothing that was timed, so that compiling the same
    model again gives the same component."""
    kept = {key: record[key] for key in ("files", "int8", "model_version", "parity")}
    return (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode()


def _runtime_source() -> dict[str, Content]:
    import edge

    folder = Path(edge.__file__).parent
    return {f"edge/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*.py")}


def _wheels(folder: Path, pins: tuple[Pin, ...]) -> dict[str, dict[str, Content]]:
    found = find_wheels(folder, pins)
    if found is None:
        print(
            f"package: no wheels in {folder}, so that a device needs an index to install from: "
            "make wheels fetches them",
            flush=True,
        )
        return {}
    return {
        architecture: {f"wheels/{architecture}/{path.name}": path for path in wheels.values()}
        for architecture, wheels in found.items()
    }
