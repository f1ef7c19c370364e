"""Which tool builds the images, and with which command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from containers import build
from containers.build import BuildError, build_command, find_tool


def tool(folder: Path, name: str, exit_code: int = 0) -> Path:
    """A command of that name that notes how it was called."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "$0 $@" >> "{folder}/calls"\nexit {exit_code}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the whole search path but for git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("SLM_CONTAINER_TOOL", "SLM_BUILD_FLAGS", "SLM_TORCH"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_docker_without_its_daemon_is_passed_over(tools: Path) -> None:
    tool(tools, "docker", exit_code=1)
    tool(tools, "podman")
    assert find_tool({}) == "podman"
    tool(tools, "docker")
    assert find_tool({}) == "docker"


def test_the_tool_that_is_named_is_taken(tools: Path) -> None:
    tool(tools, "docker")
    tool(tools, "buildah")
    assert find_tool({"SLM_CONTAINER_TOOL": "buildah"}) == "buildah"
    path = str(tools / "buildah")
    assert find_tool({"SLM_CONTAINER_TOOL": path}) == path


@pytest.mark.parametrize("named", ["podman", "make"])
def test_a_named_tool_that_cannot_build_is_refused(tools: Path, named: str) -> None:
    with pytest.raises(BuildError, match="name an installed docker, podman or buildah"):
        find_tool({"SLM_CONTAINER_TOOL": named})


def test_no_tool_at_all_is_one_sentence(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([]) == 1
    assert "install podman, or start Docker" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "verb"), [("docker", "build"), ("buildah", "bud")])
def test_the_command_names_file_tag_commit_and_context(
    tmp_path: Path, name: str, verb: str
) -> None:
    command = build_command(name, "processing", root=tmp_path, commit="abc", environment={})
    assert command[:2] == [name, verb]
    assert command[-1] == str(tmp_path)
    assert "localhost/slm-edge/processing:local" in command
    assert "COMMIT=abc" in command
    assert str(tmp_path / "containers" / "processing" / "Dockerfile") in command


def test_training_on_this_machine_gets_torch_for_cpus_unless_told(tmp_path: Path) -> None:
    def options(name: str = "training", **environment: str) -> str:
        given = {"SLM_TORCH_INDEX": "https://index.example/cpu", **environment}
        made = build_command("podman", name, root=tmp_path, commit="a", environment=given)
        return " ".join(made)

    assert "TORCH_INDEX=https://index.example/cpu" in options()
    assert "TORCH_INDEX=https://index.example/cpu" in options("processing", SLM_TORCH="cuda")
    assert "TORCH_INDEX" not in options(SLM_TORCH_INDEX="")
    assert "TORCH_INDEX" not in options(SLM_TORCH="cuda")
    assert options(SLM_BUILD_FLAGS="--build-arg 'A=b c'").index("A=b c") > options().index("TORCH")


def test_the_images_are_built_one_after_the_other(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tools / "git").symlink_to("/bin/false")
    tool(tools, "podman")
    assert build.main([]) == 0
    out = capsys.readouterr().out
    assert "built localhost/slm-edge/processing:local" in out
    assert "built localhost/slm-edge/training:local" in out
    calls = (tools / "calls").read_text().splitlines()
    assert len([call for call in calls if " build " in call]) == 2
    assert "COMMIT=unknown" in calls[-1]


def test_a_failed_build_ends_with_exit_code_1(
    tools: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tools / "git").symlink_to("/bin/false")
    tool(tools, "podman", exit_code=125)
    monkeypatch.setenv("SLM_CONTAINER_TOOL", "podman")
    assert build.main(["training"]) == 1
    assert "could not build localhost/slm-edge/training:local" in capsys.readouterr().err


def test_an_unknown_image_ends_with_exit_code_2(repository: Path) -> None:
    command = [sys.executable, str(repository / "containers" / "build.py"), "cooking"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no image 'cooking'" in done.stderr
