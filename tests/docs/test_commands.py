"""No page tells a reader to type what nobody has seen: every command is in a class, and checked.

Of our own programs the words are parsed by their own parsers and a test that runs the command is
named; AWS's command line is held to the services' models; what is done on a device, or with
programs of the system, is checked as shell and listed with the reason why it is not run here.
"""

from __future__ import annotations

import ast
import re
import subprocess
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import jmespath
import pytest
import typer
from botocore import xform_name
from botocore.session import Session

from edge.cli import build_parser
from pipeline.cli.app import app
from tests.docs.commands import Command, blocks, commands, mentions, unmarked
from tests.docs.seen import CDK, MODULES, SLM, SLM_EDGE, SYSTEM

REPOSITORY = Path(__file__).resolve().parents[2]
ALL = [*commands(REPOSITORY), *mentions(REPOSITORY)]


def of(*programs: str) -> list[Command]:
    """The commands of a program, behind sudo as well; each text once."""
    found = {
        (command.words, command.is_whole): command
        for command in map(without_sudo, ALL)
        if command.program in programs
    }
    return list(found.values())


def without_sudo(command: Command) -> Command:
    words = list(command.words)
    if words[0] != "sudo":
        return command
    del words[0]
    while words and words[0].startswith("-"):
        del words[: 2 if words[0] == "-u" else 1]
    return Command(command.page, command.line, tuple(words), command.is_whole) if words else command


def by_place(command: Command) -> str:
    return command.place


# Every command has a class -----------------------------------------------------------------


def test_every_command_is_of_a_program_that_is_looked_at():
    ours = {"slm", "slm-edge", "aws", "cdk", "make", "python", "python3"}
    unknown = [c.place for c in map(without_sudo, ALL) if c.program not in ours | set(SYSTEM)]
    assert unknown == [], "add what runs them, or to SYSTEM with the reason"


def test_every_fenced_block_says_what_it_holds():
    assert unmarked(REPOSITORY) == []


def test_no_reason_is_kept_for_a_program_that_no_page_has():
    used = {without_sudo(command).program for command in ALL}
    assert [program for program in SYSTEM if program not in used] == []


@pytest.mark.parametrize("block", blocks(REPOSITORY), ids=lambda b: f"{b.page}:{b.line}")
def test_every_block_is_shell(block):
    checked = subprocess.run(
        ["sh", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


NAMED = {
    f"{what} {name}": test
    for what, table in {"slm": SLM, "slm-edge": SLM_EDGE, "cdk": CDK, "python -m": MODULES}.items()
    for name, test in table.items()
}


@pytest.mark.parametrize("test", sorted({test for test in NAMED.values() if "::" in test}))
def test_the_test_that_is_said_to_run_a_command_exists(test):
    path, _, name = test.partition("::")
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


# Our own programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", of("slm"), ids=by_place)
def test_slm_takes_its_words_and_a_test_runs_it(command):
    path, found, left = find_command(typer.main.get_command(app), list(command.words[1:]))
    if hasattr(found, "commands") and not command.is_whole:
        return  # "slm fleet" in a sentence
    if command.words[1:] != ("--help",):
        assert path in SLM, f"name the test that runs slm {path}"
    check_options(found, left)
    if command.is_whole and "--help" not in left:
        found.make_context(path, left)


def find_command(group: Any, words: list[str]) -> tuple[str, Any, list[str]]:
    """The command that words lead to, its name, and the words that are left for it."""
    path = []
    while hasattr(group, "commands") and words and not words[0].startswith("-"):
        assert words[0] in group.commands, f"no command {' '.join([*path, words[0]])}"
        path.append(words.pop(0))
        group = group.commands[path[-1]]
    return " ".join(path), group, words


def check_options(command: Any, words: list[str]) -> None:
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= known, given - known


@pytest.mark.parametrize("command", of("slm-edge"), ids=by_place)
def test_slm_edge_takes_its_words_and_a_test_runs_it(command, capsys):
    assert command.words[1] in SLM_EDGE
    if command.is_whole:
        try:
            build_parser().parse_args(command.words[1:])
        except SystemExit:
            pytest.fail(capsys.readouterr().err)


@pytest.mark.parametrize("command", of("python", "python3"), ids=by_place)
def test_python_starts_what_is_there(command):
    words = list(command.words[1:])
    if words[:2] == ["-m", "venv"]:
        return  # Python's own
    if words and words[0] == "-m":
        assert words[1] in MODULES, "name the test that runs it, or say why none does"
        if words[1].endswith("NAME"):
            return  # any of a package's
        assert find_spec(words[1]) is not None
        options = {word for word in words[2:] if word.startswith("--")}
        source = source_of(words[1])
        assert [option for option in options if f'"{option}"' not in source] == []
    else:
        assert words == ["--version"] or (REPOSITORY / words[0]).is_file()


def source_of(module: str) -> str:
    """The text of a program, with the module that its options may come from."""
    spec = find_spec(module)
    assert spec is not None
    if spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations)))
        return "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    return "".join(
        path.read_text(encoding="utf-8") for path in Path(spec.origin or "").parent.glob("*.py")
    )


@pytest.mark.parametrize("command", of("make"), ids=by_place)
def test_make_has_the_target_on_every_system(command):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    script = (REPOSITORY / "make.ps1").read_text(encoding="utf-8")
    targets = [word for word in command.words[1:] if "=" not in word and not word.startswith("-")]
    assert targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
        assert f'"{target}" {{' in script, f"make.ps1 lacks {target}"


# The account ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", of("cdk"), ids=by_place)
def test_cdk_is_run_by_the_test_of_the_account(command):
    words = [word for word in command.words[1:] if not word.startswith("-")]
    assert "--version" in command.words or words[0] in CDK
    given = {word for word in command.words[1:] if re.match(r"-(c|-context)$", word)}
    values = [v for w, v in zip(command.words, command.words[1:], strict=False) if w in given]
    for value in values:
        assert re.fullmatch(r"(env=\w+|settings=\S+|images=\w+)", value), value


GLOBAL = {
    "--query", "--output", "--profile", "--region", "--endpoint-url", "--no-cli-pager", "--debug",
    "--cli-input-json", "--no-paginate", "--max-items",
}  # fmt: skip
OF_THE_COMMAND_LINE = {
    ("configure", "sso"): set(),
    ("sso", "login"): set(),
    ("s3", "cp"): {"--sse", "--sse-kms-key-id", "--recursive"},
    ("s3", "ls"): {"--recursive"},
    ("s3", "sync"): set(),
    ("logs", "tail"): {"--since", "--follow"},
}
"""What AWS's command line has beside the services: their options, from its reference."""


@pytest.fixture(scope="module")
def models() -> Session:
    return Session()


@pytest.mark.parametrize("command", of("aws"), ids=by_place)
def test_aws_has_the_operation_with_these_options(command, models):
    service, operation, *rest = command.words[1:]
    options = {word.partition("=")[0] for word in rest if word.startswith("--")} - GLOBAL
    for word, value in pairwise(rest):
        if word == "--query":
            jmespath.compile(value)
    if (service, operation) in OF_THE_COMMAND_LINE:
        assert options <= OF_THE_COMMAND_LINE[service, operation]
        return
    service_model = models.get_service_model(service)
    names = {xform_name(name, "-"): name for name in service_model.operation_names}
    assert operation in names, f"aws {service} has no {operation}"
    model = service_model.operation_model(names[operation])
    shape = model.input_shape
    members = {f"--{xform_name(name, '-')}": name for name in (shape.members if shape else {})}
    assert options <= set(members), options - set(members)
    if command.is_whole and shape:
        asked = set(shape.required_members) - set(model.idempotent_members)  # those it makes up
        needed = {option for option, name in members.items() if name in asked}
        assert needed <= options, f"{needed - options} is missing"


def test_a_command_that_nobody_looks_at_is_noticed(tmp_path):
    """A command is seen wherever it hides: in a chain, a pipe, a plain block, a list."""
    (tmp_path / "README.md").write_text(
        "1. First\n\n   ```sh\n   export A=1 && frob --all \\\n     --now | slm nonsense\n"
        "   ```\n\n"
        "       make nothing\n\nor `aws s3 rb NAME`, and\n\n```\naws x y $(cdk nope)\n```\n"
    )
    (tmp_path / "CONTRIBUTING.md").write_text("```text\n$ unheard of\nits answer\n```\n")
    found = [c.words for c in (*commands(tmp_path), *mentions(tmp_path))]
    assert found == [
        ("export", "A=1"), ("frob", "--all", "--now"), ("slm", "nonsense"), ("make", "nothing"),
        ("cdk", "nope"), ("aws", "x", "y", "SUBSTITUTED"), ("unheard", "of"),
        ("aws", "s3", "rb", "NAME"),
    ]  # fmt: skip
    with pytest.raises(AssertionError, match="no command nonsense"):
        find_command(typer.main.get_command(app), ["nonsense"])
