"""The S3 API instead of a folder, against a real server over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipeline.local import StepLog
from pipeline.local.errors import StorageError
from pipeline.local.s3 import S3Storage
from tests.moto_server import running
from tests.pipeline.local.workshop import (
    Workshop,
    compare,
    condition,
    definition,
    get,
    json_get,
    output_of,
    processing,
    run_address,
    training,
)

REGION = "eu-west-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running() as address:
        yield address


@pytest.fixture
def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    client: Any = boto3.client("s3", endpoint_url=endpoint, region_name=REGION)
    for bucket in ("data-bucket", "work-bucket"):
        client.create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    yield client
    boto3.client("s3", endpoint_url=endpoint)
    for bucket in ("data-bucket", "work-bucket"):
        for item in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=item["Key"])
        client.delete_bucket(Bucket=bucket)


@pytest.fixture
def remote(workshop: Workshop, client: Any, endpoint: str) -> Workshop:
    workshop.endpoint_url = endpoint
    return workshop


def no_pulse() -> None:
    pass


TRAIN = """
state = ml / "checkpoints" / "deep" / "state"
resumed = state.exists()
print("resumed", resumed, flush=True)
state.parent.mkdir(exist_ok=True); state.write_text("saved")
(state.parent / ".half").mkdir(exist_ok=True); (state.parent / ".half" / "x").write_text("half")
(ml / "model" / "weights").write_text((ml / "input/data/made/made.json").read_text())
if not resumed: sys.exit("interrupted")
"""


def pipeline() -> dict[str, Any]:
    files = [{"PropertyFileName": "made", "OutputName": "made", "FilePath": "made.json"}]
    make = processing(
        "Make",
        inputs={"raw": "s3://data-bucket/raw"},
        outputs=["made"],
        PropertyFiles=files,
        CacheConfig={"Enabled": True},
    )
    make["Arguments"]["ProcessingOutputConfig"]["KmsKeyId"] = "alias/intents"
    train = training(
        "Train",
        channels={"made": output_of("Make", "made")},
        checkpoints=run_address("checkpoints"),
        CacheConfig={"Enabled": True},
    )
    use = processing("Use", inputs={"m": get("Steps.Train.ModelArtifacts.S3ModelArtifacts")})
    gate = condition("Gate", [compare("Equals", json_get("Make", "made", "rows"), 2)], [train, use])
    return definition(make, gate)


def test_a_pipeline_runs_with_its_data_in_s3(remote: Workshop, client: Any) -> None:
    client.put_object(Bucket="data-bucket", Key="raw/a.txt", Body=b"a")
    client.put_object(Bucket="data-bucket", Key="raw/deep/b.txt", Body=b"b")
    client.put_object(Bucket="data-bucket", Key="raw/", Body=b"")
    client.put_object(Bucket="data-bucket", Key="raw-namesake/c.txt", Body=b"c")
    remote.job("make", """
rows = [p for p in (inp / "raw").rglob("*") if p.is_file()]
names = ["AWS_ENDPOINT_URL", "SLM_REGISTRY", "AWS_ACCESS_KEY_ID", "AWS_REGION"]
(out / "made" / "made.json").write_text(json.dumps(
    {"rows": len(rows), "environment": {name: os.environ[name] for name in names},
     "mlflow": "MLFLOW_TRACKING_URI" in os.environ}))
""")  # fmt: skip
    remote.job("train", TRAIN)
    remote.job("use", 'print(os.listdir(inp / "m"))')

    first = remote.run(pipeline())
    assert first.status == "Failed"
    assert first.steps["Train"].failure_reason == "The job ended with exit code 1: interrupted"
    kept = f"runs/{first.id}/checkpoints/deep/state"
    assert client.get_object(Bucket="work-bucket", Key=kept)["Body"].read() == b"saved"
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="work-bucket")["Contents"]]
    assert not [key for key in keys if "half" in key or "models" in key]

    second = remote.run(pipeline(), resume=first.id)
    assert second.status == "Succeeded", second.failure_reason
    assert [event.line for event in remote.of_kind(StepLog)] == [
        "resumed True",
        "['model.tar.gz']",
    ]
    made = client.get_object(Bucket="work-bucket", Key=f"runs/{first.id}/Make/made/made.json")
    assert made["ServerSideEncryption"] == "aws:kms"
    assert "alias/intents" in made["SSEKMSKeyId"]
    environment = json.loads(made["Body"].read())
    assert environment["environment"] == {
        "AWS_ENDPOINT_URL": remote.endpoint_url,
        "SLM_REGISTRY": "sagemaker",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_REGION": REGION,
    }
    assert environment["mlflow"] is False

    third = remote.run(pipeline())
    assert [name for name, step in third.steps.items() if step.cached] == ["Make", "Train"]
    client.delete_object(Bucket="work-bucket", Key=f"runs/{first.id}/Make/made/made.json")
    assert not remote.run(pipeline()).steps["Make"].cached


def test_what_is_not_there_is_named(remote: Workshop, endpoint: str) -> None:
    storage = S3Storage(endpoint)
    for read in (
        lambda: storage.fetch("s3://data-bucket/raw", remote.root / "x", no_pulse),
        lambda: storage.manifest("s3://data-bucket/raw", no_pulse),
        lambda: storage.read("s3://data-bucket/raw"),
        lambda: storage.read("s3://no-such-bucket/raw"),
    ):
        with pytest.raises(
            StorageError, match=f"Nothing is stored at s3://.* .at {endpoint}."
        ) as e:
            read()
        assert e.value.exception_type is None


def test_a_key_that_leaves_its_folder_is_refused(
    remote: Workshop, client: Any, endpoint: str
) -> None:
    client.put_object(Bucket="data-bucket", Key="raw/../../escaped", Body=b"x")
    with pytest.raises(StorageError, match=r"holds a key that leaves its folder"):
        S3Storage(endpoint).fetch("s3://data-bucket/raw", remote.root / "in" / "x", no_pulse)
    assert not (remote.root / "escaped").exists()


def test_an_upload_that_fails_half_way_leaves_nothing(
    remote: Workshop, client: Any, endpoint: str
) -> None:
    folder = remote.root / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / name).write_text(name)
    left = iter([1, 1])

    def interrupted() -> None:
        if next(left, None) is None:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        S3Storage(endpoint).publish_folder(folder, "s3://work-bucket/out", None, interrupted)
    assert "Contents" not in client.list_objects_v2(Bucket="work-bucket")


def test_an_endpoint_that_does_not_answer_is_a_service_fault(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match=r"S3 at http://127.0.0.1:9 cannot be used") as raised:
        S3Storage("http://127.0.0.1:9").read("s3://data-bucket/x")
    assert raised.value.exception_type == "Step.SERVICE_FAULT"


def test_a_refusal_says_what_was_refused(client: Any, endpoint: str) -> None:
    storage = S3Storage(endpoint)
    with pytest.raises(StorageError, match=r"S3 at .* s3://work-bucket/"):
        storage.publish_file(Path(__file__), "s3://work-bucket/", None)


def test_a_checkpoint_is_uploaded_while_the_job_runs(
    remote: Workshop, client: Any, endpoint: str
) -> None:
    folder = remote.root / "checkpoints"
    mirror = S3Storage(endpoint).mirror(folder, "s3://work-bucket/cp", None)
    mirror.restore(no_pulse)
    mirror.store()
    (folder / "one").write_text("1")
    mirror.store()
    (folder / "two").write_text("2")
    os.utime(folder / "two", (0, 0))
    (folder / "one").write_text("11")
    mirror.store()
    mirror.store()
    stored = client.list_objects_v2(Bucket="work-bucket")["Contents"]
    assert [(item["Key"], item["Size"]) for item in stored] == [("cp/one", 2), ("cp/two", 1)]
    assert sorted(path.name for path in remote.root.iterdir()) == ["checkpoints", "repository"]
