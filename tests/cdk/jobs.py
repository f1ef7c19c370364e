"""The jobs of the pipeline's definition, with every S3 address that they read and write resolved.

References are followed as SageMaker would at run time, in an execution ``e1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.definition import build_definition
from pipeline.settings import Settings

_OUTPUT = re.compile(r"Steps\.(\w+)\.ProcessingOutputConfig\.Outputs\['(\w+)'\]\.S3Output\.S3Uri")
_MODEL = re.compile(r"Steps\.(\w+)\.ModelArtifacts\.S3ModelArtifacts")


@dataclass(frozen=True)
class Job:
    """One Processing or Training job."""

    name: str
    kind: str
    role: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    checkpoints: str | None


def jobs_of(settings: Settings) -> list[Job]:
    """Every job of the definition of ``settings``."""
    definition = build_definition(settings)
    steps = {step["Name"]: step for step in _all_steps(definition["Steps"])}
    defaults = {one["Name"]: one.get("DefaultValue") for one in definition["Parameters"]}

    def uri(expression: Any) -> str:
        if isinstance(expression, str):
            return expression
        if "Std:Join" in expression:
            join = expression["Std:Join"]
            return join["On"].join(uri(one) for one in join["Values"])
        path = expression["Get"]
        if path == "Execution.PipelineExecutionId":
            return "e1"
        if path.startswith("Parameters."):
            return defaults[path.removeprefix("Parameters.")]
        if found := _OUTPUT.fullmatch(path):
            outputs = steps[found[1]]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
            [output] = [one for one in outputs if one["OutputName"] == found[2]]
            return uri(output["S3Output"]["S3Uri"])
        found = _MODEL.fullmatch(path)
        assert found, path
        folder = uri(steps[found[1]]["Arguments"]["OutputDataConfig"]["S3OutputPath"])
        return f"{folder}/pipelines-e1-{found[1]}-abc/output/model.tar.gz"

    return [
        _processing(step, uri) if step["Type"] == "Processing" else _training(step, uri)
        for step in steps.values()
        if step["Type"] in ("Processing", "Training")
    ]


def _processing(step: Mapping[str, Any], uri: Any) -> Job:
    given = step["Arguments"]
    outputs = given["ProcessingOutputConfig"]["Outputs"]
    return Job(
        step["Name"],
        "processing-job",
        given["RoleArn"].rpartition("/")[2],
        tuple(uri(one["S3Input"]["S3Uri"]) for one in given["ProcessingInputs"]),
        tuple(uri(one["S3Output"]["S3Uri"]) for one in outputs),
        None,
    )


def _training(step: Mapping[str, Any], uri: Any) -> Job:
    given = step["Arguments"]
    channels = given["InputDataConfig"]
    return Job(
        step["Name"],
        "training-job",
        given["RoleArn"].rpartition("/")[2],
        tuple(uri(one["DataSource"]["S3DataSource"]["S3Uri"]) for one in channels),
        (uri(given["OutputDataConfig"]["S3OutputPath"]),),
        uri(given["CheckpointConfig"]["S3Uri"]),
    )


def _all_steps(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        if step["Type"] == "Condition":
            yield from _all_steps(step["Arguments"]["IfSteps"])
            yield from _all_steps(step["Arguments"]["ElseSteps"])
