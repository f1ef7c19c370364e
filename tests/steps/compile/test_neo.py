from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from steps.compile import neo
from steps.compile.neo import NeoConfig, build_request, compile_for_neo, validate, watch
from steps.contract import StepError
from steps.intent_model import IntentModel, load

ROLE = "arn:aws:iam::123456789012:role/neo"
CONFIG = NeoConfig("ml_c5", ROLE, "s3://models/neo", poll_seconds=0)


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> IntentModel:
    return load(tiny_model)[0]


def test_neo_is_left_alone_unless_it_is_asked_for(model: IntentModel, tmp_path: Path) -> None:
    assert compile_for_neo(model, 64, "job", NeoConfig(), tmp_path) == {"status": "not_requested"}


def test_a_completed_compilation_is_recorded_with_its_artifact(
    aws: Any, model: IntentModel, tmp_path: Path
) -> None:
    import torch

    outcome = compile_for_neo(model, 16, "tiny-7-1", CONFIG, tmp_path)
    assert outcome["status"] == "completed"
    assert outcome["artifact"] == "s3://models/neo/tiny-7-1/compiled"
    job = aws("sagemaker").describe_compilation_job(CompilationJobName="tiny-7-1")
    assert job["OutputConfig"]["TargetDevice"] == "ml_c5"
    shapes = json.loads(job["InputConfig"]["DataInputConfig"])
    assert shapes == {"input_ids": [1, 16], "attention_mask": [1, 16]}
    # what was uploaded is one traced model that gives the trained model's logits
    body = aws("s3").get_object(Bucket="models", Key="neo/tiny-7-1/traced.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert tar.getnames() == ["model.pth"]
        member = tar.extractfile("model.pth")
        assert member is not None
        traced = torch.jit.load(io.BytesIO(member.read()))
    ids = torch.arange(16).view(1, 16)
    with torch.inference_mode():
        found, expected = traced(ids, torch.ones_like(ids)), model(ids, torch.ones_like(ids))
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_failed_compilation_is_recorded_with_the_reason(aws: Any) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.sagemaker.models import sagemaker_backends

    client = aws("sagemaker")
    client.create_compilation_job(**build_request(CONFIG, "tiny-7-2", "s3://models/m.tar.gz", 64))
    job = sagemaker_backends[DEFAULT_ACCOUNT_ID]["eu-west-1"].compilation_jobs["tiny-7-2"]
    job.compilation_job_status, job.failure_reason = "FAILED", "InputConfiguration: no"
    assert watch(client, "tiny-7-2", 0) == {"status": "failed", "reason": "InputConfiguration: no"}


def test_a_job_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        asked = 0

        def describe_compilation_job(self, **_: str) -> dict[str, str]:
            self.asked += 1
            return {"CompilationJobStatus": "INPROGRESS"}

    clock = iter([0.0, 600.0, 1201.0])
    monkeypatch.setattr(neo.time, "monotonic", lambda: next(clock))
    client = Client()
    outcome = watch(client, "job", 0)
    assert (outcome["status"], client.asked) == ("timed_out", 2)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (NeoConfig("ml_c5", "", "s3://models/neo"), "SLM_NEO_ROLE is not set"),
        (NeoConfig("ml_c5", ROLE, "models/neo"), "SLM_NEO_OUTPUT is 'models/neo'"),
        (NeoConfig("ml_c5", ROLE, "s3://no-such-bucket/neo"), "NoSuchBucket"),
        (NeoConfig("toaster", ROLE, "s3://models/neo"), "Neo has no target 'toaster'"),
        (NeoConfig("ml_c5", "short", "s3://models/neo"), "Invalid length for parameter RoleArn"),
    ],
)
def test_whatever_is_wrong_is_recorded_and_fails_nothing(
    aws: Any, model: IntentModel, tmp_path: Path, config: NeoConfig, reason: str
) -> None:
    outcome = compile_for_neo(model, 8, "tiny-7-3", config, tmp_path)
    assert outcome["status"] == "error"
    assert reason in outcome["reason"]
    assert aws("sagemaker").list_compilation_jobs()["CompilationJobSummaries"] == []


def test_what_goes_to_and_comes_from_neo_is_encrypted_with_the_key(
    aws: Any, model: IntentModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "arn:aws:kms:eu-west-1:111111111111:key/1234"
    monkeypatch.setenv("SLM_KMS_KEY", key)
    outcome = compile_for_neo(model, 16, "tiny-7-8", CONFIG, tmp_path)
    assert outcome["request"]["OutputConfig"]["KmsKeyId"] == key
    stored = aws("s3").head_object(Bucket="models", Key="neo/tiny-7-8/traced.tar.gz")
    assert (stored["ServerSideEncryption"], stored["SSEKMSKeyId"]) == ("aws:kms", key)


def test_the_request_passes_the_services_own_model(
    aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_KMS_KEY", "arn:aws:kms:eu-west-1:111111111111:key/1234")
    client = aws("sagemaker")
    request = build_request(CONFIG, "tiny-7-4", "s3://models/traced.tar.gz", 64)
    validate(client, request)
    assert request["InputConfig"]["Framework"] == "PYTORCH"
    assert "TargetPlatform" not in request["OutputConfig"]
    with pytest.raises(StepError, match="Neo's request is not valid"):
        validate(client, {**request, "StoppingCondition": {"MaxRuntimeInSeconds": "soon"}})
