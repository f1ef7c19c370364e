"""Write the API reference from the sources: one page a package, read and never imported.

Signatures come from Python's own ``ast``, docstrings through Sphinx's reader of Google's style, and
the result is reStructuredText with Sphinx's directives for Python, so that names are linked, found
by the search and checked. Left out: names that begin with an underscore, and what a package only
passes on from its modules.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent

from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

PACKAGES = ("pipeline", "steps", "edge", "cdk")
INDEX = """# API reference

Every public name of the four packages, from the docstrings of the sources. What may import what
stands in [Architecture](../architecture.md#layers).
"""
NAPOLEON = Config(napoleon_use_rtype=False, napoleon_use_ivar=True)
LONGEST_VALUE = 72  # characters of a constant that are worth showing
REFERENCE = re.compile(r"(:(?:class|data|exc|func|raises)[: ]`?)((?:[a-z_]+\.)*[A-Za-z]\w*)(`|:)")
DIAGRAM = re.compile(r"^(?! |-|\d+\.)(.*[^:\n]|.*[^:]:)\n\n(?= {4}\S| {5,}\S)", re.MULTILINE)
"""The end of a paragraph before a picture made of letters, in a module's docstring."""
Assignment = ast.Assign | ast.AnnAssign
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A source file: its dotted name, what it defines, and where its names come from."""

    name: str
    tree: ast.Module
    names: dict[str, str] = field(default_factory=dict)

    @property
    def top(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @property
    def is_shown(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))


def write(repository: Path, out: Path) -> None:
    """Write the reference's pages into the folder ``out``."""
    out.mkdir(parents=True)
    (out / "index.md").write_text(INDEX, encoding="utf-8")
    pages: dict[str, list[Module]] = {}
    for package in PACKAGES:
        for path in sorted((repository / package).rglob("*.py")):
            module = read(repository, path)
            parent = module.name if path.name == "__init__.py" else module.name.rpartition(".")[0]
            pages.setdefault(parent, []).append(module)
    passed_on = complete({module.name: module for modules in pages.values() for module in modules})
    for page, modules in pages.items():
        shown = [module for module in modules if module.is_shown]
        text = [heading(page, "=")]
        for module in shown:
            text += [*module_text(module, Links(module.names, passed_on), beneath=page)]
        (out / f"{page}.rst").write_text("\n".join(text), encoding="utf-8")


def read(repository: Path, path: Path) -> Module:
    """Parse a source file, and note the full names of what it imports and defines."""
    parts = path.relative_to(repository).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    module = Module(name, ast.parse(path.read_text(encoding="utf-8")))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module.names.update(
                {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            )
    own = [node.name for node in definitions(module.tree)]
    own += [name for name, _, _ in assignments(module.tree)]
    module.names.update({short: f"{name}.{short}" for short in own})
    return module


def complete(modules: dict[str, Module]) -> dict[str, str]:
    """Follow names that packages pass on, and add those that a package says of itself.

    A docstring may name an error that its module does not import: it means what other modules of
    its top-level package mean by that name, where they agree.

    Returns:
        Full names as packages pass them on, and where they are defined.
    """
    origin = {
        f"{module.name}.{short}": full
        for module in modules.values()
        for short, full in module.names.items()
    }
    passed_on: dict[str, str] = {}
    meant: dict[tuple[str, str], set[str]] = {}
    for module in modules.values():
        for short, full in module.names.items():
            while origin.get(full, full) != full:
                full = origin[full]
            module.names[short] = full
            passed_on[f"{module.name}.{short}"] = full
            meant.setdefault((module.top, short), set()).add(full)
    for module in modules.values():
        for (top, short), found in meant.items():
            if top == module.top and len(found) == 1:
                module.names.setdefault(short, *found)
    return {name: full for name, full in passed_on.items() if name != full}


def definitions(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """The public classes and functions of a module, or methods of a class, in their order."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            decorators = {ast.unparse(decorator) for decorator in child.decorator_list}
            if "overload" not in decorators:
                yield child


def module_text(module: Module, links: Links, *, beneath: str) -> Iterator[str]:
    """A module's part of a page."""
    if module.name != beneath:
        yield heading(module.name.removeprefix(f"{beneath}."), "-")
    yield f".. py:module:: {module.name}\n"
    yield DIAGRAM.sub(r"\1\n\n::\n\n", docstring(module.tree, links))
    yield from assigned(module.tree, links)
    for node in definitions(module.tree):
        yield from definition_text(node, links)


def assignments(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Assignment, str]]:
    """The public assignments: the name, the statement, and the docstring that follows."""
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        match statement:
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                if not name.startswith("_"):
                    match after:
                        case ast.Expr(ast.Constant(str(said))):
                            yield name, statement, inspect.cleandoc(said)
                        case _:
                            yield name, statement, ""


def assigned(node: ast.Module | ast.ClassDef, links: Links) -> Iterator[str]:
    """The directives of a module's constants, and of what a class says of its fields."""
    kind = "data" if isinstance(node, ast.Module) else "attribute"
    for name, statement, said in assignments(node):
        if kind == "attribute" and not said:
            continue
        yield f".. py:{kind}:: {name}"
        if isinstance(statement, ast.AnnAssign):
            yield f"   :type: {links.text(statement.annotation)}"
        if statement.value and len(value := ast.unparse(statement.value)) <= LONGEST_VALUE:
            yield f"   :value: {value}"
        yield "\n" + indent(links.full(said), "   ") + "\n"


def definition_text(node: Definition, links: Links, *, inside: bool = False) -> Iterator[str]:
    """The directive of a class, function or method, with everything in it."""
    kind, signature, options = described(node, links, inside=inside)
    yield f".. py:{kind}:: {signature}"
    yield from (f"   {option}" for option in options)
    yield ""
    yield indent(docstring(node, links), "   ")
    if isinstance(node, ast.ClassDef):
        parts = [*assigned(node, links)]
        for child in definitions(node):
            parts += definition_text(child, links, inside=True)
        yield indent("\n".join(parts), "   ")


def described(node: Definition, links: Links, *, inside: bool) -> tuple[str, str, list[str]]:
    """The directive's name, the signature and the options."""
    if isinstance(node, ast.ClassDef):
        return "class", node.name + made_from(node, links), []
    names = {ast.unparse(decorator) for decorator in node.decorator_list}
    returns = f" -> {links.text(node.returns)}" if node.returns else ""
    if {"property", "cached_property", "functools.cached_property"} & names:
        said = links.text(node.returns) if node.returns else ""
        return "property", node.name, [f":type: {said}"] if said else []
    arguments = without_self(node.args) if inside and "staticmethod" not in names else node.args
    options = [f":{name}:" for name in ("classmethod", "staticmethod") if name in names]
    options += [":async:"] if isinstance(node, ast.AsyncFunctionDef) else []
    signature = f"{node.name}({links.arguments(arguments)}){returns}"
    return ("method" if inside else "function"), signature, options


def made_from(node: ast.ClassDef, links: Links) -> str:
    """What a class is made from: the arguments of its ``__init__``, or a dataclass's fields."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return f"({links.arguments(without_self(child.args))})"
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        own = [child for child in node.body if isinstance(child, ast.AnnAssign)]
        return f"({', '.join(f'{ast.unparse(f.target)}: {links.text(f.annotation)}' for f in own)})"
    return ""


def without_self(arguments: ast.arguments) -> ast.arguments:
    """The arguments that a caller gives."""
    changed = ast.arguments(**{name: getattr(arguments, name) for name in arguments._fields})
    if changed.posonlyargs:
        changed.posonlyargs = changed.posonlyargs[1:]
    else:
        changed.args = changed.args[1:]
    return changed


class Links(ast.NodeTransformer):
    """Writes out, in annotations, the full names of what the reference has."""

    def __init__(self, names: dict[str, str], passed_on: dict[str, str]) -> None:
        self._names = names
        self._passed_on = passed_on

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._names.get(node.id, node.id))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])  # its rules are no types
        return self.generic_visit(node)

    def full(self, said: str) -> str:
        """A docstring whose roles and errors have their full names."""

        def whole(found: re.Match[str]) -> str:
            name = self._names.get(found[2], found[2])
            return found[1] + self._passed_on.get(name, name) + found[3]

        return REFERENCE.sub(whole, said)

    def text(self, node: ast.expr) -> str:
        """An annotation's text."""
        return ast.unparse(self.visit(deepcopy(node)))

    def arguments(self, node: ast.arguments) -> str:
        """The text of a signature's arguments."""
        copy = deepcopy(node)
        for part in ast.walk(copy):
            if isinstance(part, ast.arg) and part.annotation:
                part.annotation = self.visit(part.annotation)
        return ast.unparse(copy)


def docstring(node: ast.Module | Definition, links: Links) -> str:
    """A docstring with Google's sections turned into fields; empty where there is none."""
    said = ast.get_docstring(node) or ""
    return links.full(str(GoogleDocstring(said, NAPOLEON))) + "\n" if said else ""


def heading(text: str, line: str) -> str:
    """A heading in reStructuredText."""
    return f"{text}\n{line * len(text)}\n"
