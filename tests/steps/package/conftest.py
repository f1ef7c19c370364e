from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from steps.package.config import PackageConfig, PackagePaths
from steps.package.job import package
from tests.compiled import write_registration
from tests.steps.package.made_up import write_wheels

CONFIG = PackageConfig("com.example.Intents", "Example", "s3://deployments/dev/components")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up wheels, with the list of their hashes."""
    return write_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def packaged(tiny_compiled: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("package")
    registration = write_registration(root / "registration")
    requirements = wheels / "requirements.txt"
    package(
        PackagePaths(tiny_compiled, registration, root / "package", wheels, requirements), CONFIG
    )
    return root / "package"


@pytest.fixture
def paths(tiny_compiled: Path, wheels: Path, tmp_path: Path) -> PackagePaths:
    """Folders that a test may damage."""
    compiled = Path(shutil.copytree(tiny_compiled, tmp_path / "compiled"))
    registration = write_registration(tmp_path / "registration")
    own = Path(shutil.copytree(wheels, tmp_path / "wheels"))
    return PackagePaths(compiled, registration, tmp_path / "package", own, own / "requirements.txt")
