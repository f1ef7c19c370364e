"""Every ``slm`` and ``slm-edge`` line in the documents is one that the command line takes."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from edge.cli import build_parser
from pipeline.cli.app import app

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = ("device", "fleet", "service-api", "sizing", "updates-security")
BLOCK = re.compile(r"^```\w*\n(.*?)^```$|((?:^(?: {4}.*)?\n)+)", re.MULTILINE | re.DOTALL)
ENDS = {"|", "&&", "||", ";", "<", ">", ">>", "2>", "&"}
"""What ends a command's own words."""


def shell_lines(page: Path) -> list[str]:
    """Lines of the page's code blocks, those joined that end with a backslash."""
    blocks = (m[1] or m[2] or "" for m in BLOCK.finditer(page.read_text(encoding="utf-8")))
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip().removeprefix("$ ") for line in joined.splitlines()]


def commands(line: str) -> list[list[str]]:
    """The words of each ``slm``, ``slm-edge`` or ``python -m edge`` command in a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # JSON or prose
        return []
    found: list[list[str]] = []
    for separator, group in itertools.groupby(words, lambda word: word in ENDS):
        simple = [] if separator else list(group)
        while simple and "=" in simple[0]:
            del simple[0]
        if simple[:2] == ["sudo", "-u"]:
            del simple[:3]
        if simple[1:3] == ["-m", "edge"]:
            simple[:3] = ["slm-edge"]
        if simple and simple[0] in {"slm", "slm-edge"}:
            found.append(simple)
    return found


def find_commands() -> list[tuple[str, list[str]]]:
    return [
        (name, words)
        for name in PAGES
        for line in shell_lines(REPOSITORY / "docs" / f"{name}.md")
        for words in commands(line)
    ]


COMMANDS = find_commands()


def check(words: list[str]) -> None:
    """Parse without running.

    Raises:
        SystemExit, click.UsageError: The command line does not take it.
    """
    program, *arguments = words
    if program == "slm-edge":
        build_parser().parse_args(arguments)
        return
    command = typer.main.get_command(app)
    while arguments and hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context("slm", list(arguments)).close()


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page}-{shlex.join(words)}" for page, words in COMMANDS]
)
def test_a_command_in_the_documents_exists(page: str, words: list[str]) -> None:
    check(words)


def test_the_pages_have_commands_and_a_wrong_one_is_seen() -> None:
    pages = {page for page, _ in COMMANDS}
    assert {"device", "fleet"} <= pages
    assert commands("A=1 sudo -u slm-edge slm-edge install --package p | tee slm-edge") == [
        ["slm-edge", "install", "--package", "p"]
    ]
    assert commands("sudo systemctl enable slm-edge && python -m edge status") == [
        ["slm-edge", "status"]
    ]
    for wrong in (["slm-edge", "predict", "--modell", "x"], ["slm", "fleet", "deplay", "x"]):
        with pytest.raises((SystemExit, KeyError)):
            check(wrong)
