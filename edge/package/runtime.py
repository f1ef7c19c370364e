"""Does this interpreter have the distributions that a package requires?

Exact versions: what was measured and self-tested is what serves. What it leaves out: installing
them, which is the part of the component's install script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version


def lacking(requires: Mapping[str, str]) -> dict[str, str]:
    """What this interpreter lacks: each distribution, and in a few words what is wrong with it."""
    problems: dict[str, str] = {}
    for name, wanted in requires.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            problems[name] = "is not installed"
            continue
        if _plain(found) != _plain(wanted):
            problems[name] = f"is {found}, not {wanted}"
    return problems


def _plain(text: str) -> str:
    # a local build's suffix is no other release
    return re.sub(r"[-_.]+", ".", text.partition("+")[0]).lower()
