"""docs/device.md, docs/updates-security.md and what lies beside them, compared with the code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.cli import build_parser
from edge.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
UNIT = DOCS / "device" / "slm-edge.service"
PAGES = ("device", "service-api", "sizing", "updates-security", "fleet")


def read(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of a section's first table, without its head."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[2:]]


def keys(section: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key, its default as TOML has it, and its bounds."""
    for field in fields(section):
        value, name = getattr(section, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            yield from keys(value, f"{name}.")
            continue
        text = "" if value is None else str(value)
        default = json.dumps(value) if isinstance(value, bool | int | float) else json.dumps(text)
        bounds = f"{field.metadata['low']} to {field.metadata['high']}" if field.metadata else ""
        yield name, default, bounds


def test_the_page_has_every_key_of_the_configuration_with_its_default_and_bounds() -> None:
    table = rows(read("device"), "Configuration")
    written = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in table}
    expected = {name: (default, bounds) for name, default, bounds in keys(Settings())}
    assert list(written) == list(expected)
    for name, (default, bounds) in expected.items():
        assert written[name][0] == default, name
        if bounds:
            assert written[name][1] == bounds, name


def test_the_configuration_on_the_page_is_one_that_is_read(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    for block in re.findall(r"```toml\n(.*?)```", read("device"), re.DOTALL):
        config.write_text(block)
        assert Settings.read(config) != Settings()


def test_the_unit_starts_what_there_is_within_its_time() -> None:
    unit = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))
    program, *arguments = shlex.split(unit["ExecStart"])
    assert Path(program).name == "slm-edge"
    options = build_parser().parse_args(arguments)
    assert (options.root, options.config) == (
        Path("/var/lib/slm-edge"), Path("/etc/slm-edge/config.toml"),
    )  # fmt: skip
    assert int(unit["TimeoutStopSec"]) > Settings().limits.drain_seconds + 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/local/bin/slm-edge", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert said == []


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        name, _, part = target.partition("#")
        path = DOCS / name if name else DOCS / f"{page}.md"
        assert path.exists(), target
        if part:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert part in {anchor(heading) for heading in headings}, target


def test_every_threat_names_tests_that_exist() -> None:
    table = rows(read("updates-security"), "Threats and answers")
    assert len(table) >= 15
    for threat, _, shown in table:
        names, paths = re.findall(r"`(test_\w+)`", shown), re.findall(r"\]\(\.\./([^)]+)\)", shown)
        assert names, threat
        (path,) = paths
        for name in names:
            assert f"def {name}(" in (REPOSITORY / path).read_text(encoding="utf-8"), name
