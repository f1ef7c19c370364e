"""Images: what their hash covers, how they are named, and the repositories that they move through.

The hash is taken of a copy of this repository, before and after a file in it changes.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from aws_cdk import App, AssetStaging, Environment, Stack

from cdk.training.images import COPIED, BuiltImages
from pipeline.names import ROLE_KINDS, ImageName
from pipeline.settings import Settings
from tests.cdk.conftest import Synthesizer
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

SETTINGS = Settings.load("dev")
COPY = ("containers", "docs", "edge", "steps", "pyproject.toml", "requirements.txt", "README.md")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    root = tmp_path_factory.mktemp("repository") / "copy"
    root.mkdir()
    for name in (*COPY, ".dockerignore"):
        if (repository / name).is_dir():
            shutil.copytree(repository / name, root / name)
        else:
            shutil.copy(repository / name, root / name)
    return root


def uris(root: Path, outdir: Path) -> dict[ImageName, str]:
    """What the images of ``root`` are called; asset folders are left in ``outdir``."""
    AssetStaging.clear_asset_hash_cache()
    app = App(outdir=str(outdir))
    env = Environment(account=SETTINGS.account, region=SETTINGS.region)
    stack = Stack(app, "images", env=env)
    return BuiltImages(stack, "Images", settings=SETTINGS, qualifier="hnb659fds", root=root).uris


def changed_by(root: Path, file: str, outdir: Path) -> set[ImageName]:
    """The images whose URI changes when a line is added to ``file``."""
    before = uris(root, outdir)
    path = root / file
    was = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((was or b"") + b"\n# one more line\n")
    try:
        after = uris(root, outdir)
    finally:
        path.write_bytes(was) if was is not None else path.unlink()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("docs/architecture.md", set()),
        ("README.md", set()),
        ("tests/test_new.py", set()),
        ("containers/build.py", set()),
        ("steps/train/__pycache__/train.cpython-311.pyc", set()),
        ("steps/train/train.py", {"processing", "training"}),
        ("requirements.txt", {"processing", "training"}),
        ("containers/requirements_of.py", {"processing", "training"}),
        ("edge/classifier.py", {"processing"}),
        ("containers/processing/Dockerfile", {"processing"}),
        ("containers/training/Dockerfile", {"training"}),
    ],
)
def test_an_image_changes_only_with_what_its_dockerfile_copies(
    copy: Path, tmp_path: Path, file: str, images: set[ImageName]
) -> None:
    assert changed_by(copy, file, tmp_path) == images


@pytest.mark.parametrize("name", COPIED)
def test_what_is_sent_to_the_builder_is_what_the_dockerfile_copies(
    copy: Path, tmp_path: Path, name: ImageName
) -> None:
    asset = uris(copy, tmp_path)[name].rpartition(":")[2]
    folder = tmp_path / f"asset.{asset}"
    sent = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    text = (copy / "containers" / name / "Dockerfile").read_text()
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    copied = {source for line in lines for source in line.split()}
    assert copied == set(COPIED[name])
    expected = {".dockerignore", f"containers/{name}/Dockerfile"}
    for source in copied:
        path = copy / source
        files = path.rglob("*") if path.is_dir() else [path]
        expected |= {
            file.relative_to(copy).as_posix()
            for file in files
            if file.is_file() and "__pycache__" not in file.parts
        }
    assert sent == expected


def test_an_image_that_is_built_is_named_by_a_plain_string(copy: Path, tmp_path: Path) -> None:
    for uri in uris(copy, tmp_path).values():
        assert re.fullmatch(
            r"111111111111\.dkr\.ecr\.eu-west-1\.amazonaws\.com/"
            r"cdk-hnb659fds-container-assets-111111111111-eu-west-1:[0-9a-f]{64}",
            uri,
        )


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


def images_to_build(whole: Synthesized) -> dict[str, dict[str, object]]:
    file = whole.folder / f"{whole.settings.stack_name('training')}.assets.json"
    return json.loads(file.read_text())["dockerImages"]


def test_an_image_is_built_for_the_processor_of_sagemaker_from_its_own_dockerfile(
    whole: Synthesized,
) -> None:
    sources = [asset["source"] for asset in images_to_build(whole).values()]
    assert {source["dockerFile"] for source in sources} == {
        f"containers/{name}/Dockerfile" for name in COPIED
    }
    assert {source["platform"] for source in sources} == {"linux/amd64"}


def test_the_definition_runs_the_images_that_are_pushed(whole: Synthesized) -> None:
    pushed = {
        f"{settings.account}.dkr.ecr.{settings.region}.amazonaws.com/"
        f"{destination['repositoryName']}:{destination['imageTag']}"
        for settings in [whole.settings]
        for asset in images_to_build(whole).values()
        for destination in asset["destinations"].values()
    }
    body = whole.pipeline()["PipelineDefinition"]
    text = json.dumps(body)
    assert len(pushed) == len(COPIED)
    assert all(uri in text for uri in pushed)
    assert whole.settings.processing_image not in text
    assert whole.settings.training_image not in text


def test_job_roles_may_pull_the_images_that_the_definition_runs(whole: Synthesized) -> None:
    from tests.cdk.policies import Call, is_allowed

    for asset in images_to_build(whole).values():
        for destination in asset["destinations"].values():
            call = Call(
                "ecr:BatchGetImage",
                "arn:aws:ecr:eu-west-1:111111111111:repository/" + destination["repositoryName"],
            )
            for kind in ROLE_KINDS:
                runs_jobs = kind in ("processing", "training", "registration", "drift")
                allowed = is_allowed(call, whole.statements(kind), boundary=whole.boundary)
                assert allowed is runs_jobs, kind


def test_a_repository_has_tags_that_cannot_be_moved_and_scans_what_is_pushed(
    whole: Synthesized,
) -> None:
    repositories = [one["Properties"] for one in whole.resources("AWS::ECR::Repository").values()]
    assert {one["RepositoryName"] for one in repositories} == {
        "slm-edge-dev/processing",
        "slm-edge-dev/training",
    }
    for one in repositories:
        assert one["ImageTagMutability"] == "IMMUTABLE"
        assert one["ImageScanningConfiguration"] == {"ScanOnPush": True}


def test_a_repository_is_encrypted_with_our_key(whole: Synthesized) -> None:
    from tests.cdk.policies import resolve

    for one in whole.resources("AWS::ECR::Repository").values():
        encryption = resolve(one["Properties"]["EncryptionConfiguration"], whole.names)
        assert encryption == {"EncryptionType": "KMS", "KmsKey": whole.key_arn}


def test_a_repository_forgets_untagged_images_and_all_but_the_newest(whole: Synthesized) -> None:
    for one in whole.resources("AWS::ECR::Repository").values():
        policy = json.loads(one["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"])
        kinds = {
            (rule["selection"]["tagStatus"], rule["selection"]["countType"])
            for rule in policy["rules"]
        }
        assert kinds == {
            ("untagged", "sinceImagePushed"),
            ("tagged", "imageCountMoreThan"),  # what delivery still refers to
            ("any", "imageCountMoreThan"),
        }
        assert all(rule["action"] == {"type": "expire"} for rule in policy["rules"])


def test_repositories_are_emptied_and_removed_in_dev_and_retained_in_prod(
    whole: Synthesized, synthesized: Synthesizer
) -> None:
    prod = synthesized("prod", whole=True)
    for environment, policy in ((whole, "Delete"), (prod, "Retain")):
        for one in environment.resources("AWS::ECR::Repository").values():
            assert one["DeletionPolicy"] == policy
            assert one["Properties"]["EmptyOnDelete"] is (policy == "Delete")


def test_an_index_of_torch_without_cuda_is_handed_to_the_builds_that_want_it(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = uris(copy, tmp_path / "plain")
    monkeypatch.setenv("SLM_TORCH_INDEX", "https://torch.example/cpu")
    small = uris(copy, tmp_path / "small")
    monkeypatch.setenv("SLM_TORCH", "cuda")
    mixed = uris(copy, tmp_path / "mixed")
    assert {name for name in plain if plain[name] != small[name]} == {"processing", "training"}
    assert mixed["training"] == plain["training"]
    assert mixed["processing"] == small["processing"]
