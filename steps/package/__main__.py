"""Runs the step in its container: ``python -m steps.package [arguments]``.

Reads the inputs ``compiled`` and ``registration`` and writes the output ``package``: a zip for each
architecture, ``recipe.json``, ``manifest.json``, ``package.json``, ``reference.json`` and, where
``SLM_SIGNING_KEY`` names a key, ``manifest.sig``. A job also notes in the registry where they will
lie. Wheels come from the folder ``SLM_WHEELS``; ``none`` leaves them out.
"""

from __future__ import annotations

import argparse
import os

from steps.contract import ProcessingPaths, run_step


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments; a wrong one ends the process with exit code 2."""
    from steps.package.config import PackageConfig

    defaults = PackageConfig()
    parser = argparse.ArgumentParser(prog="python -m steps.package", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--component-name", default=defaults.component_name)
    parser.add_argument("--publisher", default=defaults.publisher)
    parser.add_argument(
        "--artifact-prefix",
        default=defaults.artifact_prefix,
        help="s3://BUCKET/PREFIX where the artifacts will lie",
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Map the container's folders and arguments to the step's function."""
    given = parse()

    from steps.package.config import PackageConfig, PackagePaths, requirements_file, wheels_folder
    from steps.package.job import package
    from steps.package.noting import note_package
    from steps.package.signing import SIGNING_KEY_VARIABLE

    job = ProcessingPaths()
    paths = PackagePaths(
        job.input("compiled"),
        job.input("registration"),
        job.output("package"),
        wheels_folder(),
        requirements_file(),
    )
    key = os.environ.get(SIGNING_KEY_VARIABLE, "").strip()
    summary = package(paths, PackageConfig(**vars(given), signing_key=key))
    note_package(paths.registration, paths.output, job.root / "config" / "processingjobconfig.json")
    sizes = ", ".join(
        f"{name} {archive['bytes'] / 1e6:.1f} MB" for name, archive in summary["archives"].items()
    )
    signature = summary["signature"]
    signed = f"signed by {signature['key'][:16]}" if signature else "not signed"
    print(
        f"package: {summary['name']} {summary['version']}, {summary['files']} files, {sizes}, "
        f"{signed}",
        flush=True,
    )


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
