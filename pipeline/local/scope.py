"""Where the values of an execution's references come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.local.definition import PropertyFile
from pipeline.local.errors import PipelineError
from pipeline.local.expressions import look_up
from pipeline.local.parameters import ParameterValue
from pipeline.local.runs import now
from pipeline.local.storage import Storage


@dataclass(frozen=True)
class ExecutionScope:
    """The parameters, variables and finished steps of an execution.

    Attributes:
        variables: Execution variables but the time and the job's name.
        outputs: Properties of the steps that have succeeded.
        files: Property files by step and name.
        job: The job that is being resolved, for ``Execution.TrainingJobName``.
        timeless: Whether variables stand for themselves, for a cache key.
    """

    parameters: Mapping[str, ParameterValue]
    variables: Mapping[str, str]
    outputs: Mapping[str, Mapping[str, object]]
    files: Mapping[tuple[str, str], PropertyFile]
    storage: Storage
    job: str = ""
    timeless: bool = False

    def for_job(self, job: str) -> ExecutionScope:
        return replace(self, job=job)

    def for_cache_key(self) -> ExecutionScope:
        return replace(self, timeless=True)

    def parameter(self, name: str) -> object:
        return self.parameters[name]

    def execution(self, name: str) -> object:
        if self.timeless:
            return f"Execution.{name}"
        if name in {"TrainingJobName", "ProcessingJobName"}:
            return self.job
        return now() if name == "CurrentDateTime" else self.variables[name]

    def property(self, step: str, path: str) -> object:
        try:
            return look_up(self.outputs[step], path)
        except LookupError as error:
            raise PipelineError(f"Step {step} has no {path}: {error.args[0]}.") from None

    def in_property_file(self, step: str, name: str, path: str) -> object:
        file = self.files[step, name]
        uri = self.property(step, f"ProcessingOutputConfig.Outputs['{file.output}'].S3Output.S3Uri")
        return self.in_document(f"{str(uri).rstrip('/')}/{file.file}", path)

    def in_document(self, uri: str, path: str) -> object:
        try:
            return look_up(json.loads(self.storage.read(uri)), path)
        except ValueError as error:
            raise PipelineError(f"{uri} is not JSON: {error}.") from None
        except LookupError as error:
            raise PipelineError(f"{path} is not in {uri}: {error.args[0]}.") from None


@dataclass(frozen=True)
class PreflightScope:
    """What is known before anything has run: the parameters; the rest as placeholders."""

    parameters: Mapping[str, ParameterValue]

    def parameter(self, name: str) -> object:
        return self.parameters[name]

    def execution(self, name: str) -> object:
        return name.lower()

    def property(self, step: str, path: str) -> object:
        return f"s3://placeholder/{step}"

    def in_property_file(self, step: str, name: str, path: str) -> object:
        return self.property(step, path)

    def in_document(self, uri: str, path: str) -> object:
        return self.property("document", path)
