"""Each layer imports with nothing installed but its own extra's dependencies."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

STEPS_THAT_TRAIN = {"train"}

IMPORT_EVERYTHING = '''
import importlib, importlib.abc, json, sys
refused, modules = json.loads(sys.stdin.read())

class OnlyTheLayer(importlib.abc.MetaPathFinder):
    """A finder that does not see what another layer's dependencies brought."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [OnlyTheLayer(f) for f in sys.meta_path if hasattr(f, "find_spec")]
for module in modules:
    importlib.import_module(module)
print(len(modules))
'''


def distributions_of(extra: str) -> set[str]:
    """Names of all distributions that ``slm-edge[extra]`` brings, dependencies included."""
    found: set[str] = set()
    queue: list[tuple[str, frozenset[str]]] = [("slm-edge", frozenset({extra}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        name, extras = queue.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(canonicalize_name(name))
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        for text in requirements:
            requirement = Requirement(text)
            marker = requirement.marker
            environments = [{"extra": e} for e in extras] or [{"extra": ""}]
            if marker is None or any(marker.evaluate(e) for e in environments):
                queue.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def modules_under(root: Path, *packages: str) -> list[str]:
    names = []
    for package in packages:
        for path in sorted((root / Path(*package.split("."))).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if parts[-1] == "__main__":
                continue  # importing it would run the step
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def processing_steps(root: Path) -> list[str]:
    folders = (path for path in (root / "steps").iterdir() if (path / "__init__.py").is_file())
    return sorted(f"steps.{path.name}" for path in folders if path.name not in STEPS_THAT_TRAIN)


@pytest.mark.parametrize("layer", ["edge", "processing", "training", "local", "cdk"])
def test_every_module_imports_with_only_its_layers_dependencies(layer: str, repository: Path):
    packages = {
        "edge": ["edge"],
        "processing": processing_steps(repository),
        "training": ["steps.train"],
        "local": ["pipeline"],
        "cdk": ["cdk"],
    }[layer]
    modules = modules_under(repository, *packages)
    allowed = distributions_of(layer)
    refused = sorted(
        top
        for top, owners in metadata.packages_distributions().items()
        if not any(canonicalize_name(owner) in allowed for owner in owners)
        and top not in sys.stdlib_module_names
        and top
        not in {"cdk", "pipeline", "steps", "edge", "tests", "coverage", "_distutils_hack", "pip"}
    )
    assert "pytest" in refused
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        input=json.dumps([refused, modules]),
        capture_output=True,
        text=True,
        cwd=repository,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) == len(modules) > 0


def test_the_edge_runtime_needs_neither_torch_nor_boto3():
    brought = distributions_of("edge")
    assert {"numpy", "onnxruntime", "tokenizers"} <= brought
    assert not brought & {"torch", "boto3", "botocore", "transformers", "scikit-learn", "pyarrow"}
