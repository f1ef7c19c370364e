"""Prints what an extra of pyproject.toml asks for, one requirement a line, without the project.

The Dockerfiles run it (``python requirements_of.py processing``), so that what an image holds is
said once, in pyproject.toml, and the layer with the packages changes only when that does. It needs
nothing but the standard library.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements_of(extra: str, project: dict) -> list[str]:
    """The requirements of ``extra``; extras of the project itself are replaced by what they hold.

    Args:
        extra: A name under ``[project.optional-dependencies]``.
        project: The ``[project]`` table.

    Raises:
        KeyError: There is no such extra.
    """
    own = f"{project['name']}["
    found: list[str] = list(project.get("dependencies", []))
    for requirement in project["optional-dependencies"][extra]:
        if requirement.startswith(own):
            for name in requirement.removeprefix(own).rstrip("]").split(","):
                found += requirements_of(name.strip(), project)
        else:
            found.append(requirement)
    return list(dict.fromkeys(found))


def main() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("\n".join(requirements_of(sys.argv[1], project)))


if __name__ == "__main__":
    main()
