"""Images of a commit: built once, named by digest, kept while an environment runs them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pipeline.cloud.delivery import images
from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.errors import UsageError
from tests.pipeline.cloud.delivery.conftest import COMMIT
from tests.pipeline.cloud.emulated import ACCOUNT, REGION, Emulated

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
TOOL = """\
#!{python}
import json, os, pathlib, sys
words, said = sys.argv[1:], "" if sys.argv[1] != "login" else sys.stdin.read()
log = pathlib.Path(os.environ["TOOL_LOG"])
with log.open("a") as file:
    file.write(json.dumps({{"words": words, "said": bool(said), "commit": os.environ.get("SLM_COMMIT")}}) + "\\n")
if words[0] == "push":
    import boto3
    place, _, tag = words[1].rpartition(":")
    client = boto3.client("ecr", endpoint_url=os.environ["TOOL_ECR"], region_name="{region}")
    name = place.partition("/")[2]
    layers = [{{"digest": "sha256:" + "0" * 63 + name[-1].encode().hex()[0], "size": 1, "mediaType": "l"}}]
    manifest = {{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {{"digest": "sha256:" + "1" * 64, "size": 1, "mediaType": "c"}}, "layers": layers}}
    client.put_image(repositoryName=name, imageTag=tag, imageManifest=json.dumps(manifest))
sys.exit(int(os.environ.get("TOOL_FAILS") == words[0]))
"""  # noqa: E501
"""Stands for docker, which a test machine has not: what it "pushes" lands in the emulated ECR."""


@pytest.fixture
def tool(cloud: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of docker's name; returns its log."""
    program, log = tmp_path / "bin" / "docker", tmp_path / "tool.jsonl"
    program.parent.mkdir()
    program.write_text(TOOL.format(python=sys.executable, region=REGION))
    program.chmod(0o755)
    log.touch()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOOL_LOG", str(log))
    monkeypatch.setenv("TOOL_ECR", cloud.address)
    monkeypatch.delenv("SLM_CONTAINER_TOOL", raising=False)
    return log


@pytest.fixture
def repositories(cloud: Emulated) -> None:
    for name in images.IMAGES:
        cloud.client("ecr").create_repository(
            repositoryName=cloud.settings.repository(name), imageTagMutability="IMMUTABLE"
        )


def asked(log: Path) -> list[str]:
    return [json.loads(line)["words"][0] for line in log.read_text().splitlines()]


@pytest.mark.usefixtures("repositories")
def test_a_commits_images_are_built_once_and_named_by_digest(account: Account, tool: Path):
    first = images.build_once(account, COMMIT, lambda _: None)
    for name in images.IMAGES:
        place, _, digest = first[name].partition("@sha256:")
        assert place == f"{REGISTRY}/slm-edge-dev/{name}"
        assert len(digest) == 64
    lines = [json.loads(line) for line in tool.read_text().splitlines()]
    each = ["info", "build", "login", "tag", "push"]
    assert [line["words"][0] for line in lines] == [*each, *each]
    assert {line["commit"] for line in lines if line["words"][0] == "build"} == {COMMIT}
    assert [line["words"][-1] for line in lines if line["words"][0] == "push"] == [
        f"{REGISTRY}/slm-edge-dev/{name}:{COMMIT}" for name in images.IMAGES
    ]
    # the password goes in where no list of processes shows it
    assert all(line["said"] and "--password" not in line["words"] for line in lines if line["words"][0] == "login")  # fmt: skip  # noqa: E501
    tool.write_text("")
    assert images.build_once(account, COMMIT, lambda _: None) == first
    assert asked(tool) == []


@pytest.mark.usefixtures("repositories")
@pytest.mark.parametrize(
    ("step", "said"),
    [("build", "Could not build the image"), ("login", "log in to"), ("push", "Could not push")],
)
def test_what_fails_is_said_and_nothing_later_is_tried(
    account: Account, tool: Path, monkeypatch: pytest.MonkeyPatch, step: str, said: str
):
    monkeypatch.setenv("TOOL_FAILS", step)
    with pytest.raises(CloudError, match=said):
        images.build_once(account, COMMIT, lambda _: None)
    assert asked(tool)[-1] == step


def test_without_the_repositories_the_stack_that_makes_them_is_named(account: Account, tool: Path):
    with pytest.raises(MissingError, match="There is no repository slm-edge-dev/processing"):
        images.build_once(account, COMMIT, lambda _: None)
    assert asked(tool) == []


@pytest.mark.usefixtures("repositories", "tool")
def test_an_image_is_tagged_as_what_an_environment_runs(cloud: Emulated, account: Account):
    found = images.build_once(account, COMMIT, lambda _: None)
    for _ in range(2):  # repeated, it is there already
        images.keep(account, found["training"], "prod", COMMIT)
    [detail] = cloud.client("ecr").describe_images(repositoryName="slm-edge-dev/training")[
        "imageDetails"
    ]
    assert set(detail["imageTags"]) == {COMMIT, f"in-prod-{COMMIT}"}
    digest = "0" * 64
    with pytest.raises((CloudError, MissingError)):
        images.keep(account, f"{REGISTRY}/slm-edge-dev/training@sha256:{digest}", "prod", COMMIT)


@pytest.mark.parametrize(
    "uri",
    [
        f"{REGISTRY}/slm-edge-dev/training:latest",
        f"111111111111.dkr.ecr.{REGION}.amazonaws.com/slm-edge-dev/training@sha256:{'0' * 64}",
        "docker.io/somebody/training@sha256:" + "0" * 64,
    ],
)
def test_an_image_by_tag_or_from_elsewhere_is_not_deployed(account: Account, uri: str):
    with pytest.raises(UsageError, match="is no image by digest in"):
        images.keep(account, uri, "prod", COMMIT)
