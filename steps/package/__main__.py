"""Runs the step in its container: ``python -m steps.package [arguments]``.

Reads the inputs ``compiled`` and ``registration`` and writes the output ``package``: the
component's zip, ``recipe.json``, ``manifest.json`` and ``package.json``.
"""

from __future__ import annotations

import argparse

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
        help="s3://BUCKET/PREFIX where the zip will lie",
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Map the container's folders and arguments to the step's function."""
    given = parse()

    from steps.package.config import PackageConfig, PackagePaths
    from steps.package.job import package

    job = ProcessingPaths()
    paths = PackagePaths(job.input("compiled"), job.input("registration"), job.output("package"))
    summary = package(paths, PackageConfig(**vars(given)))
    print(
        f"package: {summary['name']} {summary['version']}, {summary['files']} files, "
        f"{summary['bytes'] / 1e6:.1f} MB, sha256 {summary['sha256']}",
        flush=True,
    )


if __name__ == "__main__":
    run_step(main, ProcessingPaths().failure)
