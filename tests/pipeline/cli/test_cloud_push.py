"""``slm push``: a run of this machine in S3, CloudWatch and the registry, once."""

# ruff: noqa: E501 - tables of cases, a case a line
from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.pushable import ID, write_run


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    write_run(home)
    return home


def versions(account: Emulated) -> list[dict]:
    sagemaker = account.client("sagemaker")
    listed = sagemaker.list_model_packages(
        ModelPackageGroupName=account.settings.model_package_group
    )["ModelPackageSummaryList"]
    return [sagemaker.describe_model_package(ModelPackageName=v["ModelPackageArn"]) for v in listed]


def metrics(account: Emulated) -> dict[str, float]:
    cloudwatch = account.client("cloudwatch")
    namespace, now = account.settings.metric_namespace, datetime.now(UTC)
    found = {}
    for metric in cloudwatch.list_metrics(Namespace=namespace)["Metrics"]:
        assert metric["Dimensions"] == []
        points = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric["MetricName"],
            Dimensions=metric["Dimensions"],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(hours=1),
            Period=7200,
            Statistics=["Sum"],
        )["Datapoints"]
        found[metric["MetricName"]] = sum(point["Sum"] for point in points)
    return found


def test_a_run_is_pushed_with_its_model_package_figures_and_version(account: Emulated, home):
    done = account.slm("push", "--home", home)
    assert done.returncode == 0, done.stderr
    settings = account.settings
    model = f"s3://{settings.model_bucket}/pushed/{ID}/model.tar.gz"
    assert f"model    {model}" in done.stdout
    assert f"next     slm approve 1 --env {account.file}" in done.stdout
    assert account.keys(settings.deployments_bucket) == [
        f"pushed/{ID}/package.json",
        f"pushed/{ID}/slm.edge.IntentModel.zip",
    ]
    [version] = versions(account)
    assert version["ModelApprovalStatus"] == "PendingManualApproval"
    assert version["InferenceSpecification"]["Containers"][0] == {
        "Image": settings.processing_image,
        "ModelDataUrl": model,
        "Framework": "PYTORCH",
    }
    properties = version["CustomerMetadataProperties"]
    assert properties["execution_id"] == ID
    assert float(properties["metric.accuracy"]) == pytest.approx(0.97)
    statistics = version["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert statistics.startswith(f"s3://{settings.model_bucket}/pushed/{ID}/registered/")
    assert metrics(account) == pytest.approx({
        "Accuracy": 0.94, "OutOfScopeAuroc": 0.98, "CalibrationError": 0.012,
        "CompiledAgreement": 0.99,
    })  # fmt: skip


def test_every_object_is_encrypted_with_the_keys_own_arn_and_the_model_is_the_registered_one(
    account: Emulated, home, slm
):
    assert slm("push", ID, "--home", home, *account.options).exit_code == 0
    for bucket in (account.settings.model_bucket, account.settings.deployments_bucket):
        for key in account.keys(bucket):
            head = account.head(f"s3://{bucket}/{key}")
            assert head["ServerSideEncryption"] == "aws:kms", key
            assert head["SSEKMSKeyId"] == account.key_arn, key
    key = f"pushed/{ID}/model.tar.gz"
    body = account.client("s3").get_object(Bucket=account.settings.model_bucket, Key=key)["Body"]
    digest = hashlib.sha256(body.read()).hexdigest()
    [version] = versions(account)
    assert version["CustomerMetadataProperties"]["model_sha256"] == digest


def test_pushing_twice_says_so_and_registers_and_measures_nothing_twice(
    account: Emulated, home, slm
):
    first = slm("push", "--home", home, *account.options)
    assert first.exit_code == 0, first.output
    before = metrics(account)
    again = slm("push", "--home", home, *account.options)
    assert again.exit_code == 0
    assert again.stdout == (
        f"Execution {ID} was pushed before, as version 1, PendingManualApproval: "
        "nothing was done.\n"
    )
    assert len(versions(account)) == 1
    assert metrics(account) == before


def test_a_push_that_ended_half_way_goes_on_and_registers_once(account: Emulated, home, slm):
    assert slm("push", "--home", home, *account.options).exit_code == 0
    record = f"pushed/{ID}/registration.json"
    account.client("s3").delete_object(Bucket=account.settings.model_bucket, Key=record)
    again = slm("push", "--home", home, *account.options)
    assert again.exit_code == 0, again.output
    assert "version  1, PendingManualApproval" in again.stdout
    assert len(versions(account)) == 1


@pytest.mark.parametrize("content", [b"no json", b"{}"])
def test_a_record_that_is_none_does_not_hide_the_run(account: Emulated, home, slm, content):
    account.client("s3").put_object(
        Bucket=account.settings.model_bucket, Key=f"pushed/{ID}/registration.json", Body=content
    )
    assert slm("push", "--home", home, *account.options).exit_code == 0
    assert len(versions(account)) == 1


def test_without_the_second_bucket_nothing_is_registered(account: Emulated, home, slm):
    account.client("s3").delete_bucket(Bucket=account.settings.deployments_bucket)
    done = slm("push", "--home", home, *account.options)
    assert done.exit_code == 1
    assert f"There is no bucket {account.settings.deployments_bucket}" in done.stderr
    assert account.keys(account.settings.model_bucket) == []
    assert versions(account) == []
    assert metrics(account) == {}


def test_without_a_key_nothing_is_uploaded(emulated: Emulated, home, slm):
    for bucket in emulated.settings.buckets.values():
        emulated.client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
    done = slm("push", "--home", home, *emulated.options)
    assert done.exit_code == 1
    assert "There is no key arn:aws:kms:eu-west-1:123456789012:alias/slm-edge-dev" in done.stderr
    assert emulated.keys(emulated.settings.model_bucket) == []


def test_without_a_bucket_it_says_what_to_deploy(emulated: Emulated, home, slm):
    done = slm("push", "--home", home, *emulated.options)
    assert done.exit_code == 1
    assert f"There is no bucket {emulated.settings.model_bucket}" in done.stderr


def test_a_refusal_of_register_is_told_as_it_is(account: Emulated, home, slm):
    [statistics] = home.rglob("statistics.json")
    statistics.write_text(json.dumps({"dataset_sha256": "other"}))
    done = slm("push", "--home", home, *account.options)
    assert done.exit_code == 1
    assert "error: The model was not registered: The model was trained on the data" in done.stderr
    assert versions(account) == []


def test_another_model_under_the_same_name_is_refused(account: Emulated, home, slm):
    account.client("s3").put_object(
        Bucket=account.settings.model_bucket, Key=f"pushed/{ID}/model.tar.gz", Body=b"other"
    )
    done = slm("push", "--home", home, *account.options)
    assert done.exit_code == 1
    assert "is another model than that of execution" in done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "Failed", "failure_reason": "The gate is closed."}, "is Failed (The gate is closed): only a run"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "kept its data at http://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_pushed_is_refused(account: Emulated, home, slm, changes, said):
    write_run(home, "bbbbbbbbbbbb", **changes)
    done = slm("push", "bbbbbbbbbbbb", "--home", home, *account.options)
    assert (done.exit_code, said in done.stderr) == (1, True), done.output


def test_a_run_whose_model_was_rejected_is_refused(account: Emulated, home, slm):
    [file] = home.rglob("registration.json")
    file.write_text(json.dumps({"group": "g", "version": 4, "status": "Rejected"}))
    done = slm("push", "--home", home, *account.options)
    assert f"The model of execution {ID} was rejected: train again." in done.stderr


def test_a_run_whose_files_are_gone_is_refused(account: Emulated, home, slm):
    [model] = home.rglob("model.tar.gz")
    model.unlink()
    done = slm("push", "--home", home, *account.options)
    assert f"Execution {ID} has no model on this machine: run the pipeline again." in done.stderr


def test_without_any_run_it_says_how_to_start_one(account: Emulated, tmp_path, slm):
    done = slm("push", "--home", tmp_path / "empty", *account.options)
    assert (done.exit_code, "start with slm run." in done.stderr) == (2, True)
