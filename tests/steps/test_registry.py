"""The two registries, each against the real thing: a SQLite file, and a moto server over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from steps.contract import StepError
from steps.registry import ModelPackage, Registry, RegistryEntry, open_registry, sha256_of
from tests.moto_server import reset, running
from tests.steps.registries import use_mlflow

GROUP = "slm-intents"
BUCKET = "models"


def entry_for(folder: Path, execution: str = "execution-1", **changes) -> RegistryEntry:
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.tar.gz"
    model.write_bytes(f"the model of {execution}".encode())
    evaluation = folder / "evaluation.json"
    evaluation.write_text(json.dumps({"gate": {"accuracy": 0.97}}))
    entry = RegistryEntry(
        model=model,
        model_sha256=sha256_of(model),
        execution_id=execution,
        description="Seven intents; trained by a test.",
        files=(evaluation,),
        metrics={"accuracy": 0.97, "out_of_scope_auroc": 0.981},
        properties={"dataset_sha256": "0" * 64, "commit": "abc123", "odd": 'a{b}\n"c"' * 90},
        model_data_url=f"s3://{BUCKET}/{execution}/output/model.tar.gz",
    )
    return replace(entry, **changes)


@pytest.fixture(scope="module")
def moto_server():
    with running() as address:
        yield address


@pytest.fixture
def aws(moto_server: str, monkeypatch: pytest.MonkeyPatch):
    """An empty emulated account; returns boto3 clients by service."""
    import boto3

    reset(moto_server)
    for name, value in {
        "AWS_ENDPOINT_URL": moto_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "SLM_REGISTRY": "sagemaker",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return boto3.client


@pytest.fixture
def mlflow_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_mlflow(tmp_path, monkeypatch)


@pytest.fixture(params=["mlflow", "sagemaker"])
def registry(request: pytest.FixtureRequest) -> Registry:
    request.getfixturevalue("mlflow_file" if request.param == "mlflow" else "aws")
    return open_registry(GROUP)


def test_an_empty_registry_has_no_champion(registry: Registry) -> None:
    assert registry.champion() is None


def test_a_pending_version_is_not_the_champion(registry: Registry, tmp_path: Path) -> None:
    package = registry.register(entry_for(tmp_path / "one"))
    assert (package.version, package.status) == (1, "PendingManualApproval")
    assert package.metrics == {"accuracy": 0.97, "out_of_scope_auroc": 0.981}
    assert registry.champion() is None


def test_the_champion_is_the_newest_approved_version(registry: Registry, tmp_path: Path) -> None:
    for number, status in enumerate(["Approved", "Approved", "PendingManualApproval"], start=1):
        registry.register(entry_for(tmp_path / str(number), f"execution-{number}", status=status))
    champion = registry.champion()
    assert champion is not None
    assert champion.version == 2
    assert champion.status == "Approved"


def test_the_same_model_of_the_same_execution_is_registered_once(
    registry: Registry, tmp_path: Path
) -> None:
    first = registry.register(entry_for(tmp_path / "one"))
    again = open_registry(GROUP).register(entry_for(tmp_path / "one"))
    other = registry.register(entry_for(tmp_path / "two", "execution-2"))
    assert again == first
    assert (first.version, other.version) == (1, 2)


def test_a_rejected_champion_hands_over_to_the_one_before(
    registry: Registry, tmp_path: Path
) -> None:
    first = registry.register(entry_for(tmp_path / "one", "execution-1", status="Approved"))
    second = registry.register(entry_for(tmp_path / "two", "execution-2", status="Approved"))
    registry.reject(second.name, "accuracy fell by 0.03, more than MaxAccuracyDrop 0.01")
    assert registry.champion() == first
    rejected = registry.register(entry_for(tmp_path / "two", "execution-2", status="Approved"))
    assert rejected.status == "Rejected"
    assert rejected.metrics == second.metrics
    registry.reject(first.name, "no longer wanted")
    assert registry.champion() is None


def test_a_registered_model_downloads_as_it_was(registry: Registry, tmp_path: Path) -> None:
    entry = entry_for(tmp_path / "one")
    package = registry.register(entry)
    folder = registry.download(package, tmp_path / "downloaded")
    assert folder == tmp_path / "downloaded"
    assert (folder / "model.tar.gz").read_bytes() == entry.model.read_bytes()


def test_an_unknown_version_is_refused(registry: Registry, tmp_path: Path) -> None:
    package = registry.register(entry_for(tmp_path / "one"))
    unknown = package.name[:-1] + "7"
    with pytest.raises(StepError, match=f"model package .*{unknown[-8:]}"):
        registry.reject(unknown, "it is not there")


def test_an_unknown_approval_status_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="'Perhaps' is not an approval status: use Pending"):
        registry.register(entry_for(tmp_path / "one", status="Perhaps"))
    assert registry.champion() is None


# ---- MLflow


def stored_model(database: Path) -> Path:
    return next((database.parent / "mlartifacts").rglob("model.tar.gz"))


def test_a_model_changed_after_registration_is_refused_in_mlflow(
    mlflow_file: Path, tmp_path: Path
) -> None:
    registry = open_registry(GROUP)
    package = registry.register(entry_for(tmp_path / "one"))
    stored_model(mlflow_file).write_bytes(b"something else")
    with pytest.raises(StepError, match="changed after it was registered"):
        registry.download(package, tmp_path / "downloaded")
    assert not list((tmp_path / "downloaded").iterdir())


def test_a_model_lost_from_mlflows_folder_is_reported(mlflow_file: Path, tmp_path: Path) -> None:
    registry = open_registry(GROUP)
    package = registry.register(entry_for(tmp_path / "one"))
    stored_model(mlflow_file).unlink()
    with pytest.raises(StepError, match="is gone from"):
        registry.download(package, tmp_path / "downloaded")


def test_mlflow_shows_metrics_properties_files_and_the_champion(
    mlflow_file: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    registry = open_registry(GROUP)
    registry.register(entry_for(tmp_path / "one", status="Approved"))
    uri = f"sqlite:///{mlflow_file}"
    client = MlflowClient(uri, uri)
    version = client.get_model_version_by_alias(GROUP, "champion")
    assert version.tags["approval_status"] == "Approved"
    assert version.tags["commit"] == "abc123"
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy"] == 0.97
    assert run.data.params["dataset_sha256"] == "0" * 64
    names = {one.path for one in client.list_artifacts(version.run_id)}
    assert names == {"model.tar.gz", "evaluation.json"}
    assert stored_model(mlflow_file).is_relative_to(mlflow_file.parent / "mlartifacts")


def test_a_person_approves_a_version_in_mlflow_by_its_tag(
    mlflow_file: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    registry = open_registry(GROUP)
    registry.register(entry_for(tmp_path / "one"))
    uri = f"sqlite:///{mlflow_file}"
    MlflowClient(uri, uri).set_model_version_tag(GROUP, "1", "approval_status", "Approved")
    champion = registry.champion()
    assert champion is not None
    assert champion.version == 1


def test_a_registration_cut_short_leaves_one_run(
    mlflow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    entry = entry_for(tmp_path / "one")
    with monkeypatch.context() as patch:

        def killed(*arguments, **options):
            raise KeyboardInterrupt

        patch.setattr(MlflowClient, "create_model_version", killed)
        with pytest.raises(KeyboardInterrupt):
            open_registry(GROUP).register(entry)
    package = open_registry(GROUP).register(entry)
    assert package.version == 1
    uri = f"sqlite:///{mlflow_file}"
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(f"{GROUP}/registered")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_a_locked_database_is_waited_for_and_then_reported(
    mlflow_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    from steps.registry import mlflow_registry

    answers = iter([MlflowException("(sqlite3.OperationalError) database is locked"), "free"])

    def call():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert mlflow_registry._patiently(call) == "free"

    def always_locked():
        raise MlflowException("database is locked")

    monkeypatch.setattr(mlflow_registry, "LOCK_WAIT", 0.0)
    with pytest.raises(StepError, match="locked by another process"):
        mlflow_registry._patiently(always_locked)


def test_a_database_that_stays_locked_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from steps.registry import mlflow_registry

    monkeypatch.setattr(mlflow_registry, "LOCK_WAIT", 0.0)
    database = tmp_path / "mlflow.db"
    with (
        mlflow_registry.sole_opener(database),
        pytest.raises(StepError, match="locked by another process"),
        mlflow_registry.sole_opener(database),
    ):
        pass


_REGISTER = """
import sys
from pathlib import Path
from steps.registry import open_registry
from tests.steps.test_registry import GROUP, entry_for
execution, folder = sys.argv[1:]
package = open_registry(GROUP).register(entry_for(Path(folder), execution, status="Approved"))
print(package.version)
"""


def test_two_processes_make_the_database_and_register_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setenv("SLM_REGISTRY", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new/mlflow.db")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _REGISTER, f"execution-{number}", str(tmp_path / str(number))],
            cwd=repository,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    results = [process.communicate() for process in processes]
    assert sorted(out.strip() for out, _ in results) == ["1", "2"], results
    champion = open_registry(GROUP).champion()
    assert champion is not None
    assert champion.version == 2


def test_tables_that_a_killed_process_left_half_made_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setenv("SLM_REGISTRY", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    command = [sys.executable, "-c", _REGISTER, "execution-1", str(tmp_path / "entry")]
    process = subprocess.Popen(command, cwd=repository)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in tmp_path.glob("mlflow.db.unfinished")):
        assert process.poll() is None, "the database was made without the file beside it"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    package = open_registry(GROUP).register(entry_for(tmp_path / "entry", "execution-1"))
    assert package.version == 1
    assert sorted(path.name for path in tmp_path.glob("mlflow.db*")) == [
        "mlflow.db",
        "mlflow.db.lock",
    ]


def test_the_champion_of_no_database_is_none_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_REGISTRY", "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert open_registry(GROUP).champion() is None
    assert not list(tmp_path.iterdir())


def test_a_version_without_files_says_what_is_missing(mlflow_file: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{mlflow_file}"
    client = MlflowClient(uri, uri)
    client.create_registered_model(GROUP)
    client.create_model_version(GROUP, source=str(tmp_path), tags={"approval_status": "Approved"})
    registry = open_registry(GROUP)
    champion = registry.champion()
    assert champion is not None
    with pytest.raises(StepError, match="is gone from"):
        registry.download(champion, tmp_path / "downloaded")


# ---- SageMaker


def test_sagemaker_holds_metrics_lineage_and_the_model(aws, tmp_path: Path) -> None:
    package = open_registry(GROUP).register(entry_for(tmp_path / "one", image="image:1"))
    described = aws("sagemaker").describe_model_package(ModelPackageName=package.name)
    container = described["InferenceSpecification"]["Containers"][0]
    assert container["ModelDataUrl"] == f"s3://{BUCKET}/execution-1/output/model.tar.gz"
    assert container["Image"] == "image:1"
    statistics = described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    key = statistics.removeprefix(f"s3://{BUCKET}/")
    stored = aws("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert json.loads(stored) == {"gate": {"accuracy": 0.97}}
    properties = described["CustomerMetadataProperties"]
    assert properties["commit"] == "abc123"
    assert properties["metric.accuracy"] == "0.97"
    assert described["MetadataProperties"]["CommitId"] == "abc123"
    assert described["MetadataProperties"]["GeneratedBy"] == "execution-1"


def test_what_is_uploaded_to_register_is_encrypted_with_the_key(
    aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "arn:aws:kms:eu-west-1:111111111111:key/1234"
    monkeypatch.setenv("SLM_KMS_KEY", key)
    open_registry(GROUP).register(entry_for(tmp_path / "one"))
    stored = aws("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    heads = [aws("s3").head_object(Bucket=BUCKET, Key=item["Key"]) for item in stored]
    assert len(heads) == 2
    assert {(head["ServerSideEncryption"], head["SSEKMSKeyId"]) for head in heads} == {
        ("aws:kms", key)
    }


def test_long_and_odd_properties_are_cut_to_what_the_service_takes(tmp_path: Path) -> None:
    import botocore.session
    from botocore.validate import validate_parameters

    from steps.registry.sagemaker_registry import _request

    entry = entry_for(tmp_path, description="é\n" * 900)
    entry = replace(entry, properties={**entry.properties, **{f"p{n}": "x" for n in range(60)}})
    request = _request(GROUP, entry, "s3://models/evaluation.json")
    model = botocore.session.get_session().get_service_model("sagemaker")
    validate_parameters(request, model.operation_model("CreateModelPackage").input_shape)
    properties = request["CustomerMetadataProperties"]
    assert len(properties) == 36  # of 50: there is room for what is noted later
    assert properties["model_sha256"] == entry.model_sha256
    assert all(len(value) <= 256 for value in properties.values())
    assert "{" not in properties["odd"]
    assert "\n" not in properties["odd"]
    assert len(request["ModelPackageDescription"]) <= 1024
    assert request["ModelPackageDescription"].endswith(f"[{entry.key}]")


def test_what_is_noted_later_is_added_to_what_is_there(aws, tmp_path: Path) -> None:
    registry = open_registry(GROUP)
    package = registry.register(entry_for(tmp_path / "one"))
    registry.reject(package.name, "Parity gate: no")
    before = aws("sagemaker").describe_model_package(ModelPackageName=package.name)
    registry.note(package.name, {"package_url": "s3://b/k", "odd": "a{b}"})
    after = aws("sagemaker").describe_model_package(ModelPackageName=package.name)
    added = {"package_url": "s3://b/k", "odd": "a b"}
    assert after["CustomerMetadataProperties"] == before["CustomerMetadataProperties"] | added
    assert after["ModelApprovalStatus"] == "Rejected"
    assert after["ApprovalDescription"] == "Parity gate: no"


def test_the_reason_of_a_rejection_is_kept_in_sagemaker(aws, tmp_path: Path) -> None:
    registry = open_registry(GROUP)
    package = registry.register(entry_for(tmp_path / "one"))
    registry.reject(package.name, "agreement 0.91 is below MinAgreement 0.97")
    described = aws("sagemaker").describe_model_package(ModelPackageName=package.name)
    assert described["ModelApprovalStatus"] == "Rejected"
    assert described["ApprovalDescription"] == "agreement 0.91 is below MinAgreement 0.97"
    assert described["CustomerMetadataProperties"]["commit"] == "abc123"


def test_a_model_already_in_s3_is_not_uploaded_again(aws, tmp_path: Path) -> None:
    entry = entry_for(tmp_path / "one", evaluation_url="s3://models/evaluation/evaluation.json")
    key = entry.model_data_url.removeprefix(f"s3://{BUCKET}/")
    aws("s3").put_object(Bucket=BUCKET, Key=key, Body=entry.model.read_bytes())
    before = aws("s3").head_object(Bucket=BUCKET, Key=key)["LastModified"]
    package = open_registry(GROUP).register(entry)
    assert aws("s3").head_object(Bucket=BUCKET, Key=key)["LastModified"] == before
    described = aws("sagemaker").describe_model_package(ModelPackageName=package.name)
    statistics = described["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert statistics == entry.evaluation_url


def test_another_model_at_the_same_address_is_refused(aws, tmp_path: Path) -> None:
    entry = entry_for(tmp_path / "one")
    key = entry.model_data_url.removeprefix(f"s3://{BUCKET}/")
    aws("s3").put_object(Bucket=BUCKET, Key=key, Body=b"short")
    with pytest.raises(StepError, match="has 5 bytes but the one to register has"):
        open_registry(GROUP).register(entry)
    assert open_registry(GROUP).champion() is None


def test_a_model_changed_after_registration_is_refused_in_s3(aws, tmp_path: Path) -> None:
    registry = open_registry(GROUP)
    package = registry.register(entry_for(tmp_path / "one"))
    key = "execution-1/output/model.tar.gz"
    aws("s3").put_object(Bucket=BUCKET, Key=key, Body=b"something else")
    with pytest.raises(StepError, match="changed after it was registered"):
        registry.download(package, tmp_path / "downloaded")


def test_a_model_lost_from_s3_is_reported(aws, tmp_path: Path) -> None:
    registry = open_registry(GROUP)
    package = registry.register(entry_for(tmp_path / "one"))
    aws("s3").delete_object(Bucket=BUCKET, Key="execution-1/output/model.tar.gz")
    with pytest.raises(StepError, match="Could not download s3://models/execution-1"):
        registry.download(package, tmp_path / "downloaded")


@pytest.mark.parametrize(
    "url", ["", "https://models/model.tar.gz", "s3://models", "s3://models/a/"]
)
def test_sagemaker_needs_the_address_of_an_object(aws, tmp_path: Path, url: str) -> None:
    with pytest.raises(StepError, match=r"--model-data-url|not the address of an object"):
        open_registry(GROUP).register(entry_for(tmp_path / "one", model_data_url=url))


def test_a_bucket_that_is_not_there_is_reported(aws, tmp_path: Path) -> None:
    entry = entry_for(tmp_path / "one", model_data_url="s3://nowhere/model.tar.gz")
    with pytest.raises(StepError, match="Could not look for the model at s3://nowhere"):
        open_registry(GROUP).register(entry)


def test_a_package_of_someone_else_without_a_model_says_so(aws, tmp_path: Path) -> None:
    client = aws("sagemaker")
    client.create_model_package_group(ModelPackageGroupName=GROUP)
    arn = client.create_model_package(ModelPackageGroupName=GROUP, ModelApprovalStatus="Approved")[
        "ModelPackageArn"
    ]
    registry = open_registry(GROUP)
    champion = registry.champion()
    assert champion is not None
    assert champion.name == arn
    with pytest.raises(StepError, match="names no model in S3"):
        registry.download(champion, tmp_path)


def test_an_endpoint_that_does_not_answer_is_one_sentence(
    aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    registry = open_registry(GROUP)
    with pytest.raises(StepError, match="Could not list the model packages of the group"):
        registry.champion()


def test_the_register_step_is_the_same_with_sagemaker(aws, tmp_path: Path) -> None:
    from steps.archive import pack
    from steps.register.config import RegisterConfig, RegisterPaths
    from steps.register.register import register
    from tests.steps.test_register import write_evaluation, write_model

    pack(write_model(tmp_path / "trained"), tmp_path / "model" / "model.tar.gz")
    paths = RegisterPaths(tmp_path / "model", write_evaluation(tmp_path / "evaluation"))
    url = f"s3://{BUCKET}/train-1/output/model.tar.gz"
    config = RegisterConfig(GROUP, "Approved", model_data_url=url, execution_id="execution-1")
    registration = register(paths, config)
    assert register(paths, config) == registration
    assert registration["registry"] == "sagemaker"
    assert registration["model_package"].endswith(f":model-package/{GROUP}/1")
    registry = open_registry(GROUP)
    champion = registry.champion()
    assert champion is not None
    assert champion.metrics["accuracy"] == 0.97
    downloaded = registry.download(champion, tmp_path / "downloaded") / "model.tar.gz"
    assert sha256_of(downloaded) == registration["model_sha256"]
    described = aws("sagemaker").describe_model_package(ModelPackageName=champion.name)
    properties = described["CustomerMetadataProperties"]
    assert properties["training_job"] == "train-1"
    assert properties["versions"] == "torch=2.13.0"


# ---- which registry


def test_sagemaker_is_the_registry_unless_told_otherwise(
    aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLM_REGISTRY")
    assert open_registry(GROUP).kind == "sagemaker"


def test_a_region_that_is_not_set_is_one_sentence(
    aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StepError, match="Could not open the model registry"):
        open_registry(GROUP)


def test_an_unknown_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_REGISTRY", "drawer")
    with pytest.raises(StepError, match="'drawer', which is not a registry"):
        open_registry(GROUP)


def test_mlflow_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_REGISTRY", "mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(StepError, match="MLFLOW_TRACKING_URI is not set"):
        open_registry(GROUP)


@pytest.mark.parametrize("group", ["", "a b", "-a", "a" * 64, "grüße", "a'; drop"])
def test_a_group_name_that_a_registry_refuses_is_refused_first(group: str) -> None:
    with pytest.raises(StepError, match="is not a name that a registry accepts"):
        open_registry(group)


def test_packages_compare_by_value() -> None:
    package = ModelPackage("models:/g/1", 1, "Approved", {"accuracy": 0.5}, "2026-01-01")
    assert package == replace(package)
