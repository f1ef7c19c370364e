"""Every command on every page, as the pages have it.

A block counts when it is marked as a shell's, and also without a mark (an indented one) when its
first word is a program of :data:`KNOWN`, or where a line begins with a prompt. Continued lines,
chains, pipes and ``$(…)`` are taken apart; what is left are the words of one program.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

SHELLS = ("sh", "bash", "shell", "console")
KNOWN = (
    "slm", "slm-edge", "aws", "cdk", "make", "python", "python3", "pip", "sudo", "git", "curl",
    "ssh", "scp", "podman", "docker", "apt-get", "systemctl", "export", "cd", "mkdir", "npm",
)  # fmt: skip
MENTIONED = ("slm", "slm-edge", "aws", "cdk", "make", "python")
SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
HERE = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?(?P<rest>.*)\n(?:.*\n)*?\1$", re.MULTILINE)
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
SEPARATORS = {"&&", "||", ";", "|", "&", "(", ")", ";;"}
KEYWORDS = {"do", "then", "else", "if", "while", "until", "!", "exec"}


@dataclass(frozen=True)
class Block:
    """Lines that a reader is told to type."""

    page: str
    line: int
    text: str


@dataclass(frozen=True)
class Command:
    """One program and its words; ``is_whole`` is false for one that a sentence only mentions."""

    page: str
    line: int
    words: tuple[str, ...]
    is_whole: bool = True

    @property
    def program(self) -> str:
        return Path(self.words[0]).name

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}: {' '.join(self.words)}"


def pages(repository: Path) -> list[Path]:
    """Every page of the site that a person wrote."""
    found = [repository / name for name in ("README.md", "CONTRIBUTING.md")]
    return [*found, *sorted((repository / "docs").rglob("*.md")), *sorted((repository / "data").rglob("*.md"))]  # fmt: skip  # noqa: E501


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def unmarked(repository: Path) -> list[str]:
    """Fenced blocks that do not say what they hold: a command could hide there."""
    return [
        f"{page.relative_to(repository).as_posix()}:{token.map[0] + 1}"
        for page in pages(repository)
        for token in _tokens(page)
        if token.type == "fence" and token.map and not token.info.strip()
    ]


def blocks(repository: Path) -> Iterator[Block]:
    """Every block of commands."""
    for page in pages(repository):
        name = page.relative_to(repository).as_posix()
        for token in _tokens(page):
            if token.type in ("fence", "code_block") and token.map:
                text = _typed(token.info.strip(), token.content)
                if text:
                    yield Block(name, token.map[0] + 1, text)


def _typed(mark: str, content: str) -> str:
    """What is typed in a block: all of it, or the lines behind a prompt; empty where it is none."""
    lines = content.splitlines()
    if any(line.startswith("$ ") for line in lines):
        return "\n".join(line[2:] for line in lines if line.startswith("$ "))
    if mark in SHELLS:
        return content
    first = content.split(maxsplit=1)[:1]
    return content if not mark and first and first[0] in KNOWN else ""


def commands(repository: Path) -> Iterator[Command]:
    """Every command in a block."""
    for block in blocks(repository):
        for words in _words(block.text):
            yield Command(block.page, block.line, words)


def mentions(repository: Path) -> Iterator[Command]:
    """Every command in a sentence that is written out: without an ellipsis and with an argument."""
    for page in pages(repository):
        name = page.relative_to(repository).as_posix()
        for token in _tokens(page):
            for part in token.children or []:
                text = part.content
                is_command = part.type == "code_inline" and text.partition(" ")[0] in MENTIONED
                if is_command and " " in text and "…" not in text:
                    for words in _words(text):
                        yield Command(name, (token.map or [0])[0] + 1, words, is_whole=False)


def _words(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each program in some lines of shell."""
    pending = ""
    for line in HERE.sub(r"\g<rest>", text.replace("\\\n", " ")).splitlines():
        pending = f"{pending}\n{line}" if pending else line
        try:
            yield from _split(pending)
        except ValueError:  # a quotation goes on in the next line
            continue
        pending = ""
    assert not pending, f"a quotation does not end: {pending!r}"


def _split(line: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    while inner := SUBSTITUTION.search(line):
        found += _split(inner[1])
        line = f"{line[: inner.start()]}SUBSTITUTED{line[inner.end() :]}"
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    current: list[str] = []
    for word in [*lexer, ";"]:
        if word in SEPARATORS:
            found += _program(current)
            current = []
        else:
            current.append(word)
    return found


def _program(words: list[str]) -> list[tuple[str, ...]]:
    """The program without what a shell takes for itself: redirections, variables, keywords."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif set(word) <= {"<", ">"}:
            skip = True
        elif kept or not (ASSIGNMENT.match(word) or word in KEYWORDS):
            kept.append(word)
    return [tuple(kept)] if kept else []
