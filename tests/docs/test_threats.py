"""Every test that a page names as the proof of something exists in the file that it links to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(test_\w+)`")
LINKED = re.compile(r"((?:`test_\w+`(?:,? and |, )?)+) in \[tests\]\(([^)]+)\)")


def proofs() -> list[tuple[str, str, Path]]:
    """Page, test and file, wherever a page says ``test_… in [tests](…)``."""
    found = []
    for page in sorted((REPOSITORY / "docs").rglob("*.md")):
        for names, link in LINKED.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / link).resolve()
            found += [(page.name, name, path) for name in NAMED.findall(names)]
    return found


@pytest.mark.parametrize(("page", "name", "path"), proofs(), ids=lambda value: str(value))
def test_the_test_that_a_page_names_exists(page: str, name: str, path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}, page


def test_every_threat_names_its_proof():
    rows = re.findall(
        r"^\| \d [STRIDE] \|.*\|$",
        (REPOSITORY / "docs" / "threat-model.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 20
    assert [row for row in rows if "](../tests/" not in row and ".md)" not in row] == []
    assert {row[4] for row in rows} == set("STRIDE")
