"""Where a run's definition, parameters and data come from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pipeline.local import UsageError, open_storage
from pipeline.local.errors import PipelineError
from pipeline.local.storage import FolderStorage, parse_address
from pipeline.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "data" / "smart_home"
INPUT = "InputData"


def own_definition(environment: str) -> dict[str, Any]:
    """The definition of an environment, built."""
    from pipeline.definition import build_definition

    return build_definition(Settings.load(environment))


def read_definition(path: Path) -> dict[str, Any]:
    """A definition from a file.

    Raises:
        UsageError: The file is missing or is not a JSON object.
    """
    content = _read_json(path, "a pipeline definition")
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a pipeline definition: it is not a JSON object.")
    return cast("dict[str, Any]", content)


def deployed_definition(name: str, environment: str, endpoint_url: str | None) -> dict[str, Any]:
    """The definition of the pipeline called ``name`` in the account.

    Raises:
        PipelineError: There is none, or the account cannot be reached.
    """
    import importlib

    boto3: Any = importlib.import_module("boto3")
    errors: Any = importlib.import_module("botocore.exceptions")
    region = Settings.load(environment).region
    client = boto3.client("sagemaker", region_name=region, endpoint_url=endpoint_url)
    try:
        answer = client.describe_pipeline(PipelineName=name)
        content: object = json.loads(answer["PipelineDefinition"])
    except (errors.ClientError, errors.BotoCoreError) as error:
        raise PipelineError(f"Pipeline {name} cannot be fetched from {region}: {error}.") from None
    except ValueError:
        raise PipelineError(f"The definition of pipeline {name} is not JSON.") from None
    return cast("dict[str, Any]", content)


def parameter_values(file: Path | None, assignments: Sequence[str]) -> dict[str, object]:
    """Values from a parameter file and, over those, from ``Name=value`` words.

    Raises:
        UsageError: The file or a word is not in that form.
    """
    values: dict[str, object] = {}
    if file:
        entries = _read_json(file, "a list of parameters")
        if not isinstance(entries, list):
            raise UsageError(f'{file} is not a list of {{"Name": ..., "Value": ...}} objects.')
        for number, entry in enumerate(cast("list[Any]", entries)):
            match entry:
                case {"Name": str(name), "Value": value, **rest} if not rest:
                    values[name] = value
                case _:
                    raise UsageError(
                        f'{file}, entry {number}, is not {{"Name": ..., "Value": ...}}.'
                    )
    for word in assignments:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {word} is not NAME=VALUE, as in --set Epochs=2.")
        values[name] = value
    return values


def place_data(
    folder: Path | None, definition: Mapping[str, Any], home: Path, endpoint_url: str | None
) -> str | None:
    """Copy raw data to where the pipeline reads it; returns its address.

    The address is named after the content: unchanged data is found again, and so is every result
    that was made from it. Returns None when the pipeline takes no such input.

    Raises:
        UsageError: The folder is not one, or is empty.
    """
    declared = {p.get("Name"): p.get("DefaultValue") for p in definition.get("Parameters", [])}
    default = declared.get(INPUT)
    if INPUT not in declared:
        if folder:
            raise UsageError(f"--data has no effect: this pipeline has no parameter {INPUT}.")
        return None
    source = folder or SAMPLE
    digest = _content(source)
    bucket = parse_address(str(default)).bucket if default else Settings.load("local").raw_bucket
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", source.resolve().name).strip("-") or "data"
    address = f"s3://{bucket}/{name}/{digest[:16]}"
    storage = open_storage(home, endpoint_url)
    if not isinstance(storage, FolderStorage):
        storage.publish_folder(source, address, _key_of(definition), lambda: None)
    elif not storage.path(address).exists():
        storage.upload(source, address)
    return address


def _key_of(definition: Mapping[str, Any]) -> str | None:
    """The key that the jobs encrypt their outputs with: the buckets refuse any other."""
    for step in definition.get("Steps", []):
        key = step.get("Arguments", {}).get("ProcessingOutputConfig", {}).get("KmsKeyId")
        if isinstance(key, str):
            return key
    return None


def _content(folder: Path) -> str:
    """SHA-256 over names and contents of all files below ``folder``."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give one with .jsonl, .csv or .parquet files.")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise UsageError(f"{folder} is empty: put .jsonl, .csv or .parquet files into it.")
    total = hashlib.sha256()
    try:
        for path in files:
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}.") from None
    return total.hexdigest()


def _read_json(path: Path, what: str) -> object:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"{path} is not {what} in JSON: {error}.") from None
