"""The tiny model as an execution leaves it: model, compiled, prepared, package."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.prediction import Folders
from steps.package.config import PackageConfig, PackagePaths, requirements_file
from steps.package.job import package
from tests.compiled import write_registration


@pytest.fixture(scope="session")
def tiny_folders(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: Path,
    tiny_compiled: Path,
    tiny_prepared: Path,
) -> Folders:
    folder = tmp_path_factory.mktemp("packaged")
    registration = write_registration(folder / "registration")
    output = folder / "package"
    paths = PackagePaths(
        tiny_compiled, registration, output, folder / "no-wheels", requirements_file()
    )
    package(paths, PackageConfig())
    return Folders(tiny_model, tiny_compiled, tiny_prepared, output)
