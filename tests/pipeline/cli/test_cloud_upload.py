"""``slm upload``: the data first, the manifest last, encrypted, one snapshot."""

from __future__ import annotations

import json

import pytest

from pipeline.datasets_manifest import write_manifest
from tests.pipeline.cloud.emulated import Emulated


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "Smart Home"
    (folder / "more").mkdir(parents=True)
    (folder / "utterances.jsonl").write_text('{"text": "hello", "intent": "greet"}\n')
    (folder / "more" / "extra.csv").write_text("text,intent\nbye,leave\n")
    (folder / ".hidden").write_text("not data")
    return folder


def test_the_manifest_arrives_last_and_names_what_is_there(account: Emulated, dataset):
    done = account.slm("upload", dataset, "--name", "smart_home")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "→" in line]
    assert [line.rpartition("/")[2] for line in said] == [
        "extra.csv", "utterances.jsonl", "manifest.json",
    ]  # fmt: skip
    assert "retraining starts in 10 minutes" in done.stdout
    bucket = account.settings.raw_bucket
    body = account.client("s3").get_object(Bucket=bucket, Key="datasets/smart_home/manifest.json")
    manifest = json.loads(body["Body"].read())
    assert (manifest["format"], manifest["dataset"]) == (1, "smart_home")
    assert [f["path"] for f in manifest["files"]] == ["more/extra.csv", "utterances.jsonl"]
    assert sorted(account.keys(bucket)) == [
        "datasets/smart_home/manifest.json",
        "datasets/smart_home/more/extra.csv",
        "datasets/smart_home/utterances.jsonl",
    ]
    for key in account.keys(bucket):
        head = account.head(f"s3://{bucket}/{key}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", account.key_arn)


def test_the_same_dataset_is_not_uploaded_again(account: Emulated, dataset, slm):
    assert slm("upload", dataset, *account.options).exit_code == 0
    again = slm("upload", dataset, *account.options)
    assert again.exit_code == 0
    assert again.stdout == (
        f"s3://{account.settings.raw_bucket}/datasets/smart-home is this very dataset already: "
        "nothing was uploaded.\n"
    )


def test_what_a_new_snapshot_does_not_name_is_left_and_not_in_its_manifest(
    account: Emulated, dataset, slm
):
    assert slm("upload", dataset, *account.options).exit_code == 0
    (dataset / "more" / "extra.csv").unlink()
    done = slm("upload", dataset, *account.options)
    assert "1 files" in done.stdout
    bucket = account.settings.raw_bucket
    assert "datasets/smart-home/more/extra.csv" in account.keys(bucket)
    stored = account.client("s3").get_object(
        Bucket=bucket, Key="datasets/smart-home/manifest.json"
    )["Body"]
    assert [file["path"] for file in json.load(stored)["files"]] == ["utterances.jsonl"]


def test_another_dataset_with_a_like_name_is_left_alone(account: Emulated, dataset, slm):
    bucket = account.settings.raw_bucket
    account.client("s3").put_object(Bucket=bucket, Key="datasets/home-2/a.csv", Body=b"x")
    assert slm("upload", dataset, "--name", "home", *account.options).exit_code == 0
    assert "datasets/home-2/a.csv" in account.keys(bucket)


def test_a_manifest_in_the_account_that_cannot_be_read_is_replaced(account: Emulated, dataset, slm):
    bucket, key = account.settings.raw_bucket, "datasets/home/manifest.json"
    account.client("s3").put_object(Bucket=bucket, Key=key, Body=b"no json")
    assert slm("upload", dataset, "--name", "home", *account.options).exit_code == 0
    body = account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert json.loads(body)["dataset"] == "home"


def test_an_imported_dataset_keeps_its_name(account: Emulated, dataset, slm):
    write_manifest(dataset, "banking77")
    done = slm("upload", dataset, *account.options)
    assert f"s3://{account.settings.raw_bucket}/datasets/banking77" in done.stdout


@pytest.mark.parametrize("change", ["edited", "missing", "added"])
def test_a_manifest_of_other_files_is_refused_and_nothing_uploaded(
    account: Emulated, dataset, slm, change
):
    write_manifest(dataset)
    if change == "edited":
        (dataset / "utterances.jsonl").write_text("changed")
    elif change == "missing":
        (dataset / "utterances.jsonl").unlink()
    else:
        (dataset / "utterances2.jsonl").write_text("new")
    done = slm("upload", dataset, *account.options)
    assert done.exit_code == 1
    assert "manifest.json is of other files (utterances" in done.stderr
    assert account.keys(account.settings.raw_bucket) == []


def test_without_retraining_it_says_how_to_start(account: Emulated, dataset, slm):
    account.file.write_text(account.file.read_text() + "[retraining]\non_new_data = false\n")
    done = slm("upload", dataset, "--name", "home", *account.options)
    address = f"s3://{account.settings.raw_bucket}/datasets/home"
    assert f"next     slm start --set InputData={address}" in done.stdout


@pytest.mark.parametrize(
    ("folder", "name", "code", "said"),
    [
        ("nowhere", "a", 2, "is not a folder"),
        ("empty", "a", 2, "holds no .jsonl, .csv or .parquet file"),
        ("Smart Home", "../other", 2, "is not the name of a dataset"),
    ],
)
def test_what_is_no_dataset_is_refused(account: Emulated, dataset, slm, folder, name, code, said):
    (dataset.parent / "empty").mkdir()
    done = slm("upload", dataset.parent / folder, "--name", name, *account.options)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_without_a_bucket_it_says_what_to_deploy(emulated: Emulated, dataset, slm):
    done = slm("upload", dataset, *emulated.options)
    assert done.exit_code == 1
    assert f"There is no bucket {emulated.settings.raw_bucket}" in done.stderr
    assert "cdk deploy --all -c env=dev" in done.stderr
