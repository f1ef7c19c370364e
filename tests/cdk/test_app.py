"""The app: which stacks there are, and the real command without credentials, docker or network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from cdk.app import add_stacks, new_app
from cdk.context import Request
from tests.cdk.conftest import INSTANCE, Synthesizer, changed
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

DEV = """
environment = "dev"
account = "111111111111"
region = "eu-west-1"
budget.recipients = ["a@example.com"]
"""


def offline(home: Path, **more: str) -> dict[str, str]:
    """An environment without credentials, without docker, and with a network that is not there."""
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {
        **dict.fromkeys(proxies, "http://127.0.0.1:9"),  # the port that discards
        "PATH": os.pathsep.join(programs),
        "HOME": str(home),
        "CDK_DOCKER": "no-such-program",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_COLOR": "1",
        **more,
    }


def cdk(
    repository: Path, home: Path, *arguments: str | Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """The pinned command, as ``make synth`` calls it."""
    tool = repository / "node_modules/.bin/cdk"
    assert tool.exists(), "the cdk command is not installed: run make setup"
    return subprocess.run(
        [str(tool), "synth", "--quiet", *(str(argument) for argument in arguments)],
        cwd=repository,
        env=offline(home, **more),
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True)
class Synthesis:
    """What the command wrote, and what it said on standard error."""

    files: dict[str, bytes]
    said: str


TIMINGS = "performance-counters.json"
"""What a slow synthesis writes beside the assembly for the cdk command, which reads it at once."""


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != TIMINGS
    }


# The real command -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twice(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Synthesis]:
    """dev by the real command, two times with other seeds for the order of sets."""
    made: list[Synthesis] = []
    for seed in ("1", "2"):
        home = tmp_path_factory.mktemp(f"synth-{seed}")
        out = home / "out"
        done = cdk(repository, home, "-c", "env=dev", "--output", out, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        made.append(Synthesis(files(out), done.stderr))
    return made


def test_cdk_synth_needs_no_account_and_writes_the_same_bytes_twice(
    twice: list[Synthesis],
) -> None:
    first, second = (one.files for one in twice)
    assert "slm-edge-dev-training.template.json" in first
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_without_an_identity_center_instance_the_app_says_what_is_left_out(
    twice: list[Synthesis],
) -> None:
    said = "note: slm-edge-dev-identity is left out because identity.instance_arn is empty"
    assert all(said in one.said for one in twice)


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ((), "error: no environment is given: add -c env=dev, staging or prod"),
        (("-c", "settings=mine.toml"), "goes through S3, where the key's alias cannot be replaced"),
    ],
)
def test_bad_input_ends_cdk_synth_with_one_sentence_and_leaves_nothing(
    repository: Path, tmp_path: Path, context: tuple[str, ...], said: str
) -> None:
    large = "".join(f'tags.t{number} = "{"x" * 500}"\n' for number in range(50))
    (tmp_path / "mine.toml").write_text(DEV + large)
    context = tuple(one.replace("mine.toml", str(tmp_path / "mine.toml")) for one in context)
    out = tmp_path / "out"
    done = cdk(repository, tmp_path, *context, "--output", out)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert not out.exists() or files(out) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (DEV.replace('"111111111111"', '"1234"'), "account = '1234' is not allowed"),
        (DEV + '[training]\ninstance_type = "ml.x9.huge"\n', "training.instance_type"),
    ],
)
def test_the_app_by_itself_says_what_is_wrong_in_one_line(
    repository: Path, tmp_path: Path, settings: str, said: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "cdk.app"],
        cwd=repository,
        env=offline(
            tmp_path,
            CDK_OUTDIR=str(tmp_path / "out"),
            CDK_CONTEXT_JSON=json.dumps({"settings": str(file)}),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1
    assert line.startswith(f"error: {file}: {said}")
    assert "Traceback" not in done.stderr
    assert files(tmp_path / "out") == {}


def test_the_command_line_tool_is_pinned_to_one_version(repository: Path) -> None:
    package = json.loads((repository / "package.json").read_text())
    assert package["private"] is True
    assert package["devDependencies"] == {"aws-cdk": "2.1148.1"}


def test_the_tool_reports_nothing_to_anybody(repository: Path) -> None:
    tool = json.loads((repository / "cdk.json").read_text())
    assert tool["app"] == "python -m cdk.app"
    assert tool["versionReporting"] is False
    assert tool["notices"] is False
    assert tool["context"]["@aws-cdk/core:enableAdditionalMetadataCollection"] is False


# The stacks -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


@pytest.fixture(scope="session")
def with_people(synthesized: Synthesizer) -> Synthesized:
    identity = {"instance_arn": INSTANCE, "account": "999999999999", "region": "us-east-1"}
    return synthesized("dev", whole=True, identity=identity)


def stacks_of(synthesized: Synthesized) -> dict[str, dict[str, Any]]:
    """The stacks' entries in the manifest, by name."""
    manifest = json.loads((synthesized.folder / "manifest.json").read_text())
    return {
        name: entry
        for name, entry in manifest["artifacts"].items()
        if entry["type"] == "aws:cloudformation:stack"
    }


def test_an_environment_is_six_stacks_and_with_identity_center_seven(
    whole: Synthesized, with_people: Synthesized
) -> None:
    parts = ("foundation", "roles", "training", "edge", "promotion", "monitoring")
    six = {f"slm-edge-dev-{part}" for part in parts}
    assert set(stacks_of(whole)) == six
    assert set(stacks_of(with_people)) == {*six, "slm-edge-dev-identity"}


def test_a_stack_knows_its_account_and_region(whole: Synthesized) -> None:
    places = {entry["environment"] for entry in stacks_of(whole).values()}
    assert places == {"aws://111111111111/eu-west-1"}


def test_permission_sets_are_made_where_the_identity_center_instance_lives(
    with_people: Synthesized,
) -> None:
    place = stacks_of(with_people)["slm-edge-dev-identity"]["environment"]
    assert place == "aws://999999999999/us-east-1"


def test_roles_are_deployed_before_what_runs_with_them(whole: Synthesized) -> None:
    stacks = stacks_of(whole)
    for part in ("training", "edge", "monitoring"):
        assert "slm-edge-dev-roles" in stacks[f"slm-edge-dev-{part}"]["dependencies"]
        assert "slm-edge-dev-foundation" in stacks[f"slm-edge-dev-{part}"]["dependencies"]
    assert "slm-edge-dev-edge" in stacks["slm-edge-dev-promotion"]["dependencies"]


def test_only_prods_stacks_are_protected_from_removal(
    whole: Synthesized, synthesized: Synthesizer
) -> None:
    for stacks, is_protected in ((whole, False), (synthesized("prod", whole=True), True)):
        for entry in stacks_of(stacks).values():
            assert entry["properties"].get("terminationProtection", False) is is_protected


def test_a_definition_that_is_refused_leaves_an_app_without_stacks(tmp_path: Path) -> None:
    from cdk.context import ContextError

    tags = {f"t{number}": "x" * 500 for number in range(50)}
    app: App = new_app(tmp_path / "out")
    with pytest.raises(ContextError):
        add_stacks(app, Request(changed("dev", {"tags": tags}), "build"))
    children = {child.node.id for child in app.node.children}
    assert not {name for name in children if name.startswith("slm-edge")}
    assert not (tmp_path / "out").exists() or files(tmp_path / "out") == {}


# The templates ----------------------------------------------------------------------------


def test_cfn_lint_has_nothing_to_say_about_any_environment(
    synthesized: Synthesizer, whole: Synthesized
) -> None:
    everything = synthesized(
        "dev",
        whole=True,
        identity={"instance_arn": INSTANCE},
        studio={"enabled": True, "vpc": "vpc-0a1b2c3d", "subnets": ["subnet-0a1b2c3d"]},
        network={"subnets": ["subnet-0a1b2c3d"], "security_groups": ["sg-0a1b2c3d"]},
        retraining={"schedule": "rate(7 days)"},
    )
    environments = [whole, everything]
    environments += [synthesized(name, whole=True) for name in ("staging", "prod")]
    templates = [
        str(path)
        for environment in environments
        for path in sorted(environment.folder.glob("*.template.json"))
    ]
    assert len(templates) == 25
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [str(lint), "--regions", "eu-west-1", "--", *templates],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
