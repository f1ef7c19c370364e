"""SageMaker Neo as an optional second target: asked for, watched, and never in the way.

Neo is frozen: it knows PyTorch up to 2.0 and, for cloud targets, Hugging Face's encoders (see
``docs/decisions/0004-int8.md``). Whatever happens here is recorded in ``compilation.json`` under
``neo``; nothing of it fails the release. What it leaves out: shipping Neo's artifact.
"""

from __future__ import annotations

import tarfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps.contract import StepError, upload_arguments

if TYPE_CHECKING:
    from steps.intent_model import IntentModel

NONE = "none"
FRAMEWORK_VERSION = "2.0"
"""The newest PyTorch that Neo knows."""
MAX_RUNTIME_SECONDS = 900
_ENDED = ("COMPLETED", "FAILED", "STOPPED")


@dataclass(frozen=True)
class NeoConfig:
    """Where and how to ask Neo."""

    target: str = NONE
    """``none``, or Neo's name of a device or instance family, such as ``ml_c5``."""
    role: str = ""
    """The ARN of the role that Neo assumes."""
    output: str = ""
    """``s3://BUCKET/PREFIX`` for the traced model and Neo's artifact."""
    poll_seconds: float = 10.0


def compile_for_neo(
    model: IntentModel, max_length: int, job_name: str, config: NeoConfig, scratch: Path
) -> dict[str, Any]:
    """Ask Neo to compile ``model`` and wait for the outcome.

    Returns:
        ``status`` (``not_requested``, ``completed``, ``failed``, ``stopped``, ``timed_out`` or
        ``error``), and as far as it came ``target``, ``job``, ``request``, ``artifact``,
        ``reason`` and ``seconds``.
    """
    if config.target == NONE:
        return {"status": "not_requested"}
    outcome: dict[str, Any] = {"status": "error", "target": config.target, "job": job_name}
    started = time.monotonic()
    try:
        _ask(model, max_length, job_name, config, scratch, outcome)
    except Exception as error:  # noqa: BLE001 - an optional target must not stop a release
        if not isinstance(error, StepError):
            traceback.print_exc()
        outcome["reason"] = f"{type(error).__name__}: {error}"
    outcome["seconds"] = round(time.monotonic() - started, 1)
    return outcome


def _ask(
    model: IntentModel,
    max_length: int,
    job_name: str,
    config: NeoConfig,
    scratch: Path,
    outcome: dict[str, Any],
) -> None:
    import boto3

    bucket, prefix = _bucket_and_prefix(config)
    archive = trace(model, max_length, scratch)
    key = f"{prefix}/{job_name}/{archive.name}"
    request = build_request(config, job_name, f"s3://{bucket}/{key}", max_length)
    outcome["request"] = request
    client = boto3.client("sagemaker")
    validate(client, request)
    boto3.client("s3").upload_file(str(archive), bucket, key, ExtraArgs=upload_arguments())
    client.create_compilation_job(**request)
    outcome.update(watch(client, job_name, config.poll_seconds))


def trace(model: IntentModel, max_length: int, scratch: Path) -> Path:
    """Trace ``model`` on one utterance of ``max_length`` tokens into ``traced.tar.gz``.

    Neo wants one ``.pth`` of TorchScript in a tar; its shapes are fixed.
    """
    import torch

    from steps.compile.export import quiet, traceable

    ids = torch.zeros(1, max_length, dtype=torch.long)
    with quiet(), torch.inference_mode():
        traced = torch.jit.trace(traceable(model), (ids, torch.ones_like(ids)), strict=False)
        scripted = scratch / "model.pth"
        torch.jit.save(traced, str(scripted))
    archive = scratch / "traced.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(scripted, arcname="model.pth")
    scripted.unlink()
    return archive


def build_request(
    config: NeoConfig, job_name: str, model_url: str, max_length: int
) -> dict[str, Any]:
    """The arguments of ``CreateCompilationJob``."""
    shape = f"[1,{max_length}]"
    key = upload_arguments().get("SSEKMSKeyId")
    return {
        "CompilationJobName": job_name,
        "RoleArn": config.role,
        "InputConfig": {
            "S3Uri": model_url,
            "DataInputConfig": f'{{"input_ids":{shape},"attention_mask":{shape}}}',
            "Framework": "PYTORCH",
            "FrameworkVersion": FRAMEWORK_VERSION,
        },
        "OutputConfig": {
            "S3OutputLocation": f"{config.output.rstrip('/')}/{job_name}/compiled",
            **({"KmsKeyId": key} if key else {}),
            "TargetDevice": config.target,
            "CompilerOptions": '{"dtype":"int64"}',
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": MAX_RUNTIME_SECONDS},
    }


def validate(client: Any, request: dict[str, Any]) -> None:
    """Check ``request`` against the service's own model, before anything is uploaded.

    Raises:
        StepError: It breaks a rule of the model, enumerations included.
    """
    from botocore.validate import ParamValidator

    shape = client.meta.service_model.operation_model("CreateCompilationJob").input_shape
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise StepError(f"Neo's request is not valid: {report.generate_report()}")
    # botocore leaves enumerations to the service
    targets = shape.members["OutputConfig"].members["TargetDevice"].enum
    target = request["OutputConfig"]["TargetDevice"]
    if target not in targets:
        raise StepError(f"Neo has no target {target!r}: use none or one of {', '.join(targets)}.")


def watch(client: Any, job_name: str, poll_seconds: float) -> dict[str, Any]:
    """Wait until the job has ended, or should have."""
    # Neo stops the compilation itself; starting and uploading come on top
    deadline = time.monotonic() + MAX_RUNTIME_SECONDS + 300
    while True:
        job = client.describe_compilation_job(CompilationJobName=job_name)
        status = job["CompilationJobStatus"]
        if status in _ENDED:
            break
        if time.monotonic() > deadline:
            return {"status": "timed_out", "reason": f"still {status} when it should have ended"}
        time.sleep(poll_seconds)
    result: dict[str, Any] = {"status": status.lower()}
    if job.get("FailureReason"):
        result["reason"] = job["FailureReason"]
    if status == "COMPLETED":
        result["artifact"] = job["ModelArtifacts"]["S3ModelArtifacts"]
    return result


def _bucket_and_prefix(config: NeoConfig) -> tuple[str, str]:
    bucket, _, prefix = config.output.removeprefix("s3://").partition("/")
    if not config.output.startswith("s3://") or not bucket:
        raise StepError(
            f"SLM_NEO_OUTPUT is {config.output!r}: set it to s3://BUCKET/PREFIX to use Neo."
        )
    if not config.role:
        raise StepError("SLM_NEO_ROLE is not set: give the ARN of a role that Neo may assume.")
    return bucket, prefix.strip("/") or "neo"
