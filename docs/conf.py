"""How Sphinx makes the site; ``docs/build.py`` starts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

project = "slm-edge"
root_doc = "docs/index"
extensions = ["myst_parser"]
exclude_patterns = ["docs/api/*"]
highlight_language = "text"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
add_module_names = False
# what annotations name of others is not documented here; ours has to resolve
nitpick_ignore_regex = [("py:(class|obj|exc|data)", r"(?!(cdk|pipeline|steps|edge)\.).*")]

myst_heading_anchors = 4  # as the forge makes them

html_theme = "furo"
html_title = "slm-edge"
html_static_path = [str(HERE / "style")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

NAVIGATION = {
    "Begin": ["README", "docs/tutorial", "docs/architecture"],
    "ML engineer": [
        "data/README",
        "data/smart_home/README",
        "docs/studio",
        "docs/drift",
        "docs/promotion",
        "docs/regression",
        "docs/results",
        "docs/experiments",
    ],
    "Platform engineer": [
        "docs/deployment",
        "docs/delivery",
        "docs/runbook",
        "docs/troubleshooting",
        "docs/costs",
        "docs/scale",
        "docs/containers",
        "docs/security",
        "docs/threat-model",
        "docs/roles",
    ],
    "Device engineer": [
        "docs/device",
        "docs/fleet",
        "docs/service-api",
        "docs/updates-security",
        "docs/sizing",
    ],
    "Project": [
        "docs/decisions/README",
        "docs/reference/index",
        "CONTRIBUTING",
        "CHANGELOG",
    ],
}
"""The lists beside every page, by reader. A page that none of them names comes under More."""

LISTS = {"docs/decisions/README": "docs/decisions/", "docs/reference/index": "docs/reference/"}
"""Pages that end in a list of all others of their folder."""


def navigation(found: set[str]) -> str:
    """The lists of the first page, of the pages that exist."""
    inside = {name for folder in LISTS.values() for name in found if name.startswith(folder)}
    named = {name for names in NAVIGATION.values() for name in names} | inside | {root_doc}
    lists = {**NAVIGATION, "More": sorted(found - named)}
    return "".join(
        toctree([name for name in names if name in found], f":caption: {caption}", ":hidden:")
        for caption, names in lists.items()
    )


def toctree(names: list[str], *options: str) -> str:
    """A list of pages, as MyST writes it; nothing where there are none."""
    pages = [f"/{name}" for name in names]
    return "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""]) if names else ""


def complete(app: Any, name: str, source: list[str]) -> None:
    """Append to the pages that list others what the forge needs no word for.

    A data card begins with its figures for machines, which are no part of the page.
    """
    source[0] = re.sub(r"\A---\n.*?\n---\n", "", source[0], flags=re.DOTALL)
    found = set(app.env.found_docs)
    if name == root_doc:
        source[0] += navigation(found)
    elif name in LISTS:
        below = sorted(n for n in found if n.startswith(LISTS[name]) and n != name)
        source[0] += toctree(below, ":maxdepth: 1")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", complete)
