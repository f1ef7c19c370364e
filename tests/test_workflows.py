"""GitHub's workflows: actionlint has nothing to say, actions are pinned, rights are few."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cdk.delivery.pipeline import DOCUMENTS
from pipeline.cli.app import app as slm

FOLDER = Path(__file__).resolve().parents[1] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
pytestmark = pytest.mark.infra


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("actionlint")
    options = ["-no-color", "-oneline", "-shellcheck=", "-pyflakes="]
    return subprocess.run([program, *options, *files], capture_output=True, text=True, check=False)


def test_there_are_tests_of_pull_requests_staging_on_main_and_prod_by_hand():
    triggers = {path.stem: set(read(path)[True]) for path in WORKFLOWS}  # YAML reads on as true
    assert triggers == {
        "test": {"pull_request", "push"},
        "deploy-staging": {"push"},
        "promote-prod": {"workflow_dispatch"},
    }


def test_actionlint_has_nothing_to_say():
    done = lint(*WORKFLOWS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_actionlint_would_say_what_is_wrong(tmp_path: Path):
    text = (FOLDER / "test.yml").read_text().replace("contents: read", "contents: all")
    bad = tmp_path / "bad.yml"
    bad.write_text(text + "      - run: echo ${{ github.event.pull_request.title }}\n")
    done = lint(bad)
    assert done.returncode == 1
    assert "[permissions]" in done.stdout
    assert "potentially untrusted" in done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path: Path):
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_an_action_is_pinned_to_one_commit_everywhere():
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for step in steps(read(path)):
            if "uses" in step:
                name, _, commit = step["uses"].partition("@")
                pins.setdefault(name, set()).add(commit)
    assert {name: len(commits) for name, commits in pins.items()} == dict.fromkeys(pins, 1)


def test_rights_are_few_and_only_jobs_with_an_environment_get_a_token_for_aws():
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}, path
        for name, job in workflow["jobs"].items():
            more = set(job.get("permissions", {})) - {"contents"}
            assert more == ({"id-token"} if "environment" in job else set()), (path, name)
            assert "timeout-minutes" in job, (path, name)
    assert "secrets." not in "".join(path.read_text() for path in WORKFLOWS)


def test_what_a_pull_request_runs_gets_no_credentials_and_no_input_goes_into_a_shell():
    for path in WORKFLOWS:
        workflow = read(path)
        for step in steps(workflow):
            assert "${{" not in step.get("run", ""), path
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    text = (FOLDER / "test.yml").read_text()
    assert "id-token" not in text
    assert "environment:" not in text
    assert "pull_request_target" not in text


def test_documents_alone_deploy_nothing_with_either_way():
    [ignored] = [read(FOLDER / "deploy-staging.yml")[True]["push"]["paths-ignore"]]
    # GitHub's ** crosses folders from the root on, CodePipeline has a pattern for each
    assert set(ignored) == {*DOCUMENTS, "**.md"} - {"*.md", "**/*.md"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_known_and_has_all_that_it_needs(
    path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
):
    workflow = read(path)
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    deliver: Any = typer.main.get_command(slm).get_command(None, "deliver")  # type: ignore[attr-defined]
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            words = shlex.split(step.get("run", ""))
            if words[:1] == ["make"]:
                assert set(words[1:]) <= targets
            elif words:
                assert words[:2] == [".venv/bin/slm", "deliver"]
                given = {
                    **workflow.get("env", {}), **job.get("env", {}), **step.get("env", {}),
                }  # fmt: skip
                with monkeypatch.context() as patch:
                    for name, value in given.items():
                        patch.setenv(name, str(value))
                    deliver.get_command(None, words[2]).make_context(words[2], words[3:])


def test_an_output_that_is_used_is_one_that_the_command_hands_on():
    from tests.cdk.test_delivery_builds import BUILDSPECS

    handed = {
        step: set(read(BUILDSPECS / f"{step}.yml")["env"]["exported-variables"])
        for step in ("images", "run")
    }
    text = (FOLDER / "deploy-staging.yml").read_text()
    used = re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text)
    assert used
    assert [(step, name) for step, name in used if name not in handed[step]] == []


def test_promotion_builds_and_trains_nothing():
    commands = " ".join(step.get("run", "") for step in steps(read(FOLDER / "promote-prod.yml")))
    assert "deliver images" not in commands
    assert "deliver run" not in commands
    inputs = read(FOLDER / "promote-prod.yml")[True]["workflow_dispatch"]["inputs"]
    assert set(inputs) == {
        "commit", "processing_image", "training_image", "model_package", "package_sha256",
    }  # fmt: skip
    assert all(one["required"] for one in inputs.values())
