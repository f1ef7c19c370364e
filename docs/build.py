"""Build the documentation site: ``python docs/build.py [FOLDER]``, as ``make docs`` does.

The pages are plain Markdown that also reads well in the repository, so the site mirrors the
repository's tree: docs/, data/ and the pages at the top are copied into a folder of their own, the
API reference is written beside them, and Sphinx builds that. A relative link then means the same
in both places, nothing is written among the sources, and two builds do not meet. Every warning is
an error: a link to nowhere, a page that no list holds, a docstring that cannot be read.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import reference
from sphinx.cmd.build import build_main

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")
FOLDERS = ("docs", "data")
LINK = re.compile(r"\]\(([^)#:\s]+)")
FIRST_PAGE = "docs/index.html"
STRICT = ("--nitpicky", "--fail-on-warning", "--keep-going", "--quiet")


def copy_sources(to: Path) -> None:
    """Copy what the site is made of, in the places where the repository has it."""
    for name in FOLDERS:
        shutil.copytree(
            REPOSITORY / name, to / name, ignore=shutil.ignore_patterns("*.py", "__pycache__")
        )
    for name in PAGES:
        shutil.copy2(REPOSITORY / name, to / name)
    for page in sorted(to.rglob("*.md")):
        copy_linked(page, to)


def copy_linked(page: Path, to: Path) -> None:
    """Copy what a page links to and is no page itself: the site offers it for download."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        linked = Path(os.path.normpath(page.parent / target))
        if linked.is_relative_to(to) and not linked.exists():
            source = REPOSITORY / linked.relative_to(to)
            if source.is_file():
                linked.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, linked)


def build(sources: Path, out: Path) -> int:
    """Build what lies in ``sources`` into ``out``; Sphinx's exit code, 0 without a warning."""
    with tempfile.TemporaryDirectory(prefix="slm-docs-") as doctrees:
        places = ["--conf-dir", str(HERE), "--doctree-dir", doctrees, str(sources), str(out)]
        return build_main([*STRICT, "--builder", "html", *places])


def main(arguments: Sequence[str]) -> int:
    """Build into the folder that is named, else ``build/docs``; whatever lay there goes."""
    out = Path(arguments[0]) if arguments else REPOSITORY / "build" / "docs"
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="slm-docs-") as sources:
        copy_sources(Path(sources))
        reference.write(REPOSITORY, Path(sources) / "docs" / "reference")
        code = build(Path(sources), out)
    if code:
        print("error: the site has warnings (see above).", file=sys.stderr)
        return code
    page = f'<!doctype html><meta http-equiv="refresh" content="0; url={FIRST_PAGE}">\n'
    (out / "index.html").write_text(page, encoding="utf-8")
    print(out / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
