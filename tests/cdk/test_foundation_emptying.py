"""Dev's buckets are emptied by a command of its own, in its own process, against S3's own API."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from pipeline.settings import Settings
from tests.moto_server import running

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="module")
def endpoint():
    with running() as address:
        yield address


@pytest.fixture
def s3(endpoint: str) -> Any:
    session = boto3.Session("testing", "testing", region_name="eu-west-1")
    return session.client("s3", endpoint_url=endpoint)


@pytest.fixture
def buckets(s3: Any) -> list[str]:
    """dev's buckets, versioned, with two versions of an object, a deleted one and an upload."""
    settings = Settings.load("dev")
    names = [*settings.buckets.values(), settings.access_log_bucket]
    for name in names:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        for body in (b"one", b"two"):
            s3.put_object(Bucket=name, Key="a", Body=body)
        s3.put_object(Bucket=name, Key="b", Body=b"b")
        s3.delete_object(Bucket=name, Key="b")
        s3.create_multipart_upload(Bucket=name, Key="c")
    return names


def run(*arguments: str, answer: str = "", repository: Path, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "cdk.foundation.emptying", *arguments],
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
        env={**os.environ, **CREDENTIALS, "AWS_EC2_METADATA_DISABLED": "true", **environment},
    )


def test_every_bucket_can_be_removed_afterwards(endpoint, s3, buckets, repository):
    done = run("dev", "--yes", "--endpoint-url", endpoint, repository=repository)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    for name in buckets:
        assert f"{name}: 4 versions deleted" in done.stdout
        assert not s3.list_multipart_uploads(Bucket=name).get("Uploads")
        s3.delete_bucket(Bucket=name)


def test_what_is_not_there_is_as_good_as_empty(endpoint, repository):
    done = run("dev", "--yes", "--endpoint-url", endpoint, repository=repository)
    assert done.returncode == 0, done.stderr


def test_nothing_is_deleted_unless_the_environment_is_typed(endpoint, s3, buckets, repository):
    for answer in ("", "y\n", "prod\n"):
        done = run("dev", "--endpoint-url", endpoint, answer=answer, repository=repository)
        assert done.returncode == 1
        assert "Nothing was deleted." in done.stdout
    assert len(s3.list_object_versions(Bucket=buckets[0])["Versions"]) == 3
    done = run("dev", "--endpoint-url", endpoint, answer="dev\n", repository=repository)
    assert done.returncode == 0, done.stderr
    for name in buckets:
        s3.delete_bucket(Bucket=name)


def test_an_environment_that_retains_its_data_is_refused_before_any_call(repository):
    done = run("prod", "--yes", "--endpoint-url", "http://127.0.0.1:9", repository=repository)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("error: prod: the data of slm-edge-prod is retained")
    assert "set retain_data = false" in sentence


def test_an_unknown_environment_and_a_missing_login_are_one_sentence_each(
    endpoint, tmp_path, repository
):
    done = run("qa", "--yes", repository=repository)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    logged_out = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }
    done = run("dev", "--yes", "--endpoint-url", endpoint, repository=repository, **logged_out)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert "there are no credentials" in sentence
    assert "log in" in sentence
