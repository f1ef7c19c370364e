"""The images hold what their steps need and nothing else, as far as that shows without building."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from containers.requirements_of import requirements_of

IMAGES = {
    "processing": ["prepare", "evaluate", "register", "compile", "package"],
    "training": ["train"],
}
_ALLOWED = {
    "pyproject.toml", "requirements.txt", "containers/requirements_of.py", "edge", "steps",
}  # fmt: skip
_HEAVY = {"onnxruntime", "matplotlib", "great_expectations", "peft", "sklearn", "onnx", "evaluate"}
"""Packages that one image has and the other has not."""


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> str:
    return request.param


def dockerfile(repository: Path, image: str) -> list[str]:
    """The instructions of an image, without comments and with continued lines joined."""
    text = (repository / "containers" / image / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def copied(repository: Path, image: str) -> set[str]:
    """What the Dockerfile copies from the build's context."""
    found: set[str] = set()
    for line in dockerfile(repository, image):
        if line.startswith("COPY ") and "--from=" not in line:
            found.update(line.split()[1:-1])
    return found


def test_an_image_copies_only_steps_and_what_they_stand_on(repository: Path, image: str) -> None:
    assert copied(repository, image) <= _ALLOWED
    assert "steps" in copied(repository, image)


def test_the_build_context_holds_exactly_what_is_copied(repository: Path) -> None:
    lines = (repository / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert kept == set().union(*(copied(repository, image) for image in IMAGES)) == _ALLOWED
    assert any(fnmatch.fnmatch("steps/prepare/__pycache__", rule) for rule in rules[1:])


def test_the_base_image_is_an_argument_with_a_fixed_tag(repository: Path, image: str) -> None:
    lines = dockerfile(repository, image)
    (base,) = [line for line in lines if line.startswith("ARG PYTHON_IMAGE=")]
    assert re.search(r":3\.\d+[\w.-]*$", base)
    stages = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert set(stages) == {"${PYTHON_IMAGE}"}
    assert ":latest" not in "\n".join(lines)


def test_packages_are_pinned_and_named_once(repository: Path, image: str) -> None:
    installs = [line for line in dockerfile(repository, image) if "pip install" in line]
    assert len(installs) == 1
    assert "--constraint requirements.txt" in installs[0]
    assert f"requirements_of.py {image} " in installs[0]
    assert image in project(repository)["optional-dependencies"]


def test_the_commit_is_a_label_and_a_variable(repository: Path, image: str) -> None:
    text = "\n".join(dockerfile(repository, image))
    assert "ARG COMMIT=unknown" in text
    assert "ENV SLM_COMMIT=${COMMIT}" in text
    assert 'org.opencontainers.image.revision="${COMMIT}"' in text


def test_nothing_of_one_machine_stands_in_a_dockerfile(repository: Path, image: str) -> None:
    text = "\n".join(dockerfile(repository, image))
    assert "--mount" not in text
    assert not re.search(r"PIP_CERT|ssl/certs|trusted-host|proxy", text, re.IGNORECASE)


def test_requirements_of_an_extra_include_those_of_the_extras_it_names(repository: Path) -> None:
    wanted = requirements_of("processing", project(repository))
    assert any(one.startswith("onnxruntime") for one in wanted)
    assert not any(one.startswith("slm-edge") for one in wanted)
    assert len(wanted) == len(set(wanted))


def test_an_extra_prints_one_requirement_a_line(repository: Path) -> None:
    command = [sys.executable, "containers/requirements_of.py", "training"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert "torch==2.13.0" in done.stdout.splitlines()


def test_training_needs_no_torch_from_an_index_of_its_own(repository: Path) -> None:
    assert "ARG TORCH_INDEX=" in dockerfile(repository, "training")


_IMPORT = """
import importlib, importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(name + " is not in this image", name=name)
sys.meta_path.insert(0, Missing())
for step in {steps!r}:
    importlib.import_module("steps." + step + ".__main__")
"""


def test_the_steps_of_an_image_start_with_its_packages_alone(repository: Path, image: str) -> None:
    steps = [
        step for step in IMAGES[image] if (repository / "steps" / step / "__main__.py").exists()
    ]
    wanted = " ".join(requirements_of(image, project(repository))).replace("-", "_")
    wanted = wanted.replace("scikit_learn", "sklearn")
    hidden = {name for name in _HEAVY if not re.search(rf"\b{name}\b", wanted)}
    assert hidden
    code = _IMPORT.format(hidden=hidden | {"pipeline", "sagemaker", "typer"}, steps=steps)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
