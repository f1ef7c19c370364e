"""The site builds without a warning, and what is wrong on a page is one."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.e2e.apart import unmeasured

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / "docs" / "build.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, as ``make docs`` builds it."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, PROGRAM, out],
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return out


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        spec = importlib.util.spec_from_file_location("build_docs", PROGRAM)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PROGRAM.parent))
    return module


def test_every_page_of_the_repository_is_in_the_site(site: Path):
    pages = [REPOSITORY / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")]
    pages += [*(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "data").rglob("*.md")]
    relative = [page.relative_to(REPOSITORY).with_suffix(".html") for page in pages]
    assert [str(page) for page in relative if not (site / page).is_file()] == []


def test_every_page_names_the_readers(site: Path):
    first = (site / "docs" / "index.html").read_text(encoding="utf-8")
    for reader in ("ML engineer", "Platform engineer", "Device engineer"):
        assert re.search(rf"caption[^>]*>\s*<span[^>]*>{reader}<", first)
    assert "url=docs/index.html" in (site / "index.html").read_text(encoding="utf-8")


def test_the_reference_has_names_arguments_and_links(site: Path):
    page = (site / "docs" / "reference" / "pipeline.html").read_text(encoding="utf-8")
    assert 'id="pipeline.settings.Settings.load"' in page
    assert 'href="#pipeline.settings.SettingsError"' in page


def test_no_page_asks_another_server_for_anything(site: Path):
    asks = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](?:https?:)?//""")
    assert [page.name for page in site.rglob("*.html") if asks.search(page.read_text())] == []


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("# A\n\n[nowhere](nowhere.md)\n", "nowhere.md"),
        ("# A\n\n[no such heading](index.md#nothing)\n", "nothing"),
        ("# A\n\n```json\n{not json\n```\n", "json"),
        ("# A\n\n```{py:function} f(a: cdk.app.Nothing)\n```\n", "cdk.app.Nothing"),
    ],
)
def test_what_is_wrong_on_a_page_fails(tmp_path: Path, builder: ModuleType, capfd, page, said):
    sources = tmp_path / "sources"
    (sources / "docs").mkdir(parents=True)
    (sources / "docs" / "index.md").write_text(page)
    assert builder.build(sources, tmp_path / "out") != 0
    assert said in capfd.readouterr().err


def test_a_page_without_a_fault_builds_and_may_link_to_a_file(tmp_path: Path, builder: ModuleType):
    sources = tmp_path / "sources"
    (sources / "docs").mkdir(parents=True)
    (sources / "docs" / "index.md").write_text("# A\n\n[code](../pipeline/params.json)\n")
    builder.copy_linked(sources / "docs" / "index.md", sources)
    assert builder.build(sources, tmp_path / "out") == 0
    assert list((tmp_path / "out").rglob("params.json"))
