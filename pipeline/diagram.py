"""Draws a pipeline definition, from its JSON, as a picture for a phone and for a desk.

One column, in the order in which steps run; a gate's conditions are written out, its closed
branch hangs beside the way on. ``svg`` needs nothing and follows the reader's light or dark
setting; ``png`` draws the same shapes with matplotlib.

Leaves out: data that skips a step (it is named in the card of the step that reads it), and any
state of an execution.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal, cast

WIDTH = 420  # px; a phone shows it at 0.93 of that
_MARGIN = 16
_CARD = WIDTH - 2 * _MARGIN
_PAD = 14
_GAP = 30
_LINE = 17
_CHARACTERS = 56  # of 12.5 px type that fit a card's width
_FIXED_CHARACTERS = 46  # of the same size, all of one width
_FAIL_WIDTH = 210

Kind = Literal["Processing", "Training", "Condition", "Fail"]
Style = Literal["title", "tag", "flow", "text", "edge"]

_LIGHT = {
    "page": "#ffffff", "line": "#64748b", "title": "#0f172a", "text": "#334155", "tag": "#475569",
    "Processing": "#eff6ff", "Processing-edge": "#3b82f6",
    "Training": "#f5f3ff", "Training-edge": "#8b5cf6",
    "Condition": "#fefce8", "Condition-edge": "#ca8a04",
    "Fail": "#fef2f2", "Fail-edge": "#dc2626",
}  # fmt: skip
_DARK = {
    "page": "#0f172a", "line": "#94a3b8", "title": "#f8fafc", "text": "#cbd5e1", "tag": "#94a3b8",
    "Processing": "#172554", "Processing-edge": "#60a5fa",
    "Training": "#2e1065", "Training-edge": "#a78bfa",
    "Condition": "#422006", "Condition-edge": "#facc15",
    "Fail": "#450a0a", "Fail-edge": "#f87171",
}  # fmt: skip
_OPERATORS = {
    "Equals": "=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": "≥",
    "LessThan": "<",
    "LessThanOrEqualTo": "≤",
}
_SIZES: dict[Style, float] = {"title": 15, "tag": 11.5, "flow": 12.5, "text": 12.5, "edge": 12}


@dataclass(frozen=True)
class Box:
    """A filled, rounded rectangle; coordinates in px from the top left corner."""

    x: float
    y: float
    width: float
    height: float
    kind: Kind


@dataclass(frozen=True)
class Text:
    """One line of text; ``y`` is its baseline."""

    x: float
    y: float
    content: str
    style: Style
    at_end: bool = False


@dataclass(frozen=True)
class Arrow:
    """A straight line with a head at its end."""

    start: tuple[float, float]
    end: tuple[float, float]


Shape = Box | Text | Arrow


@dataclass(frozen=True)
class Drawing:
    """Shapes on a page of ``WIDTH`` by ``height`` px."""

    shapes: tuple[Shape, ...]
    height: float
    summary: str


def draw(definition: Mapping[str, Any]) -> Drawing:
    """Lay the steps of ``definition`` out."""
    defaults = {p["Name"]: p.get("DefaultValue") for p in definition.get("Parameters", [])}
    pen = _Pen(defaults)
    pen.steps(definition["Steps"])
    return Drawing(tuple(pen.shapes), pen.y + _MARGIN, " → ".join(pen.titles))


def write(definition: Mapping[str, Any], path: Path) -> None:
    """Draw ``definition`` into ``path``, as its suffix says.

    Raises:
        ValueError: The suffix is neither ``.svg`` nor ``.png``.
        ModuleNotFoundError: PNG was asked for and matplotlib is not installed.
    """
    drawing = draw(definition)
    if path.suffix.lower() == ".svg":
        path.write_text(svg(drawing), encoding="utf-8")
    elif path.suffix.lower() == ".png":
        png(drawing, path)
    else:
        raise ValueError(f"{path.name} is neither .svg nor .png")


class _Pen:
    """Draws cards from top to bottom."""

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self._defaults = defaults
        self.shapes: list[Shape] = []
        self.titles: list[str] = []
        self.y: float = _MARGIN
        self._left_at: float = _MARGIN
        """Where the arrow to the next card starts."""

    def steps(self, steps: list[dict[str, Any]], label: str = "") -> None:
        for step in steps:
            if step["Type"] == "Fail":
                continue
            if self.titles:
                self._arrow(label)
            label = ""
            self.titles.append(step.get("DisplayName", step["Name"]))
            if step["Type"] == "Condition":
                self._gate(step)
            else:
                self._card(step)

    def _arrow(self, label: str) -> None:
        x = _MARGIN + 40
        self.shapes.append(Arrow((x, self._left_at), (x, self.y + _GAP)))
        if label:
            self.shapes.append(Text(x + 9, self._left_at + _GAP / 2 + 2, label, "edge"))
        self.y += _GAP

    def _card(self, step: dict[str, Any]) -> None:
        self._box(
            step,
            textwrap.wrap(_flow(step), _FIXED_CHARACTERS),
            _wrapped(step.get("Description", "")),
        )

    def _gate(self, step: dict[str, Any]) -> None:
        conditions = [self._condition(each) for each in step["Arguments"]["Conditions"]]
        self._box(step, [], [line for each in conditions for line in _wrapped(each)])
        failures = [s for s in step["Arguments"]["ElseSteps"] if s["Type"] == "Fail"]
        if failures:
            self._closed(failures[0])
        self.steps(step["Arguments"]["IfSteps"], label="open")

    def _box(self, step: dict[str, Any], flow: list[str], text: list[str]) -> None:
        height = 2 * _PAD + _LINE * (1 + len(flow) + len(text)) - 2
        self.shapes.append(Box(_MARGIN, self.y, _CARD, height, step["Type"]))
        y = self.y + _PAD + 12
        title = step.get("DisplayName", step["Name"])
        self.shapes.append(Text(_MARGIN + _PAD, y, title, "title"))
        self.shapes.append(Text(WIDTH - _MARGIN - _PAD, y, step["Name"], "tag", at_end=True))
        for index, content in enumerate([*flow, *text]):
            y += _LINE
            style: Style = "flow" if index < len(flow) else "text"
            self.shapes.append(Text(_MARGIN + _PAD, y + 2, content, style))
        self.y += height
        self._left_at = self.y

    def _closed(self, step: dict[str, Any]) -> None:
        """The Fail step, right of the way on."""
        x, top, height = WIDTH - _MARGIN - _FAIL_WIDTH, self.y + _GAP - 4, 50
        middle = x + _FAIL_WIDTH - 40
        self.shapes.append(Arrow((middle, self.y), (middle, top)))
        self.shapes.append(Text(middle - 9, self.y + _GAP / 2 + 2, "closed", "edge", at_end=True))
        self.shapes.append(Box(x, top, _FAIL_WIDTH, height, "Fail"))
        title = step.get("DisplayName", step["Name"])
        self.shapes.append(Text(x + _PAD, top + 21, title, "title"))
        self.shapes.append(Text(x + _PAD, top + 39, f"Fail · {step['Name']}", "tag"))
        self.y = top + height

    def _condition(self, condition: dict[str, Any]) -> str:
        if condition["Type"] == "Or":
            return " or ".join(self._condition(part) for part in condition["Conditions"])
        if condition["Type"] == "Not":
            return f"not ({self._condition(condition['Condition'])})"
        if condition["Type"] == "In":
            values = ", ".join(self._value(value) for value in condition["Values"])
            return f"{self._value(condition['QueryValue'])} in {values}"
        left, right = self._value(condition["LeftValue"]), self._value(condition["RightValue"])
        return f"{left} {_OPERATORS[condition['Type']]} {right}"

    def _value(self, value: Any) -> str:
        if not isinstance(value, dict):
            return str(value)
        expression = cast("dict[str, Any]", value)
        if "Std:JsonGet" in expression:
            name = str(expression["Std:JsonGet"]["Path"]).split(".")[-1]
            return _spelled(name)
        path = str(expression.get("Get", "…"))
        name = path.split(".")[-1]
        default = self._defaults.get(name) if path.startswith("Parameters.") else None
        return name if default is None else f"{name} ({default})"


def _spelled(figure: str) -> str:
    """``out_of_scope_auroc`` as a person writes it."""
    words = figure.replace("out_of_scope", "out-of-scope").replace("p_value", "p-value")
    return words.replace("_", " ").replace("auroc", "AUROC")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _CHARACTERS)


def _flow(step: dict[str, Any]) -> str:
    """``raw → prepared``: what a job reads and what it writes."""
    arguments = step["Arguments"]
    if step["Type"] == "Training":
        inputs = [channel["ChannelName"] for channel in arguments.get("InputDataConfig", [])]
        outputs = ["model"]
    else:
        inputs = [item["InputName"] for item in arguments.get("ProcessingInputs", [])]
        config = arguments.get("ProcessingOutputConfig", {})
        outputs = [item["OutputName"] for item in config.get("Outputs", [])]
    return f"{' + '.join(inputs)} → {' + '.join(outputs)}"


def svg(drawing: Drawing) -> str:
    """The drawing as one SVG file that follows the reader's light or dark setting."""
    body = "\n".join(_svg_shape(shape) for shape in drawing.shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{drawing.height:g}" '
        f'viewBox="0 0 {WIDTH} {drawing.height:g}" role="img" style="max-width:100%;height:auto">\n'
        f"<title>{escape(drawing.summary)}</title>\n"
        f"<style>{_css()}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>\n'
        f'<rect class="page" width="{WIDTH}" height="{drawing.height:g}" rx="12"/>\n'
        f"{body}\n</svg>\n"
    )


def _css() -> str:
    def rules(colours: Mapping[str, str]) -> Iterator[str]:
        yield f".page{{fill:{colours['page']}}}"
        yield f".arrow{{stroke:{colours['line']}}} .head{{fill:{colours['line']}}}"
        yield f".title{{fill:{colours['title']}}} .tag{{fill:{colours['tag']}}}"
        yield f".flow{{fill:{colours['title']}}} .text,.edge{{fill:{colours['text']}}}"
        for kind in ("Processing", "Training", "Condition", "Fail"):
            yield f".{kind}{{fill:{colours[kind]};stroke:{colours[f'{kind}-edge']}}}"

    base = [
        "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}",
        ".title{font-weight:600} .flow{font-family:ui-monospace,Menlo,Consolas,monospace}",
        ".arrow{fill:none;stroke-width:1.6} rect{stroke-width:1.4}",
        *(f".{style}{{font-size:{size}px}}" for style, size in _SIZES.items()),
        *rules(_LIGHT),
        "@media (prefers-color-scheme:dark){" + " ".join(rules(_DARK)) + "}",
    ]
    return "\n".join(base)


def _svg_shape(shape: Shape) -> str:
    if isinstance(shape, Box):
        return (
            f'<rect class="{shape.kind}" x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" '
            f'height="{shape.height:g}" rx="9"/>'
        )
    if isinstance(shape, Text):
        anchor = ' text-anchor="end"' if shape.at_end else ""
        return (
            f'<text class="{shape.style}" x="{shape.x:g}" y="{shape.y:g}"{anchor}>'
            f"{escape(shape.content)}</text>"
        )
    (x1, y1), (x2, y2) = shape.start, shape.end
    return (
        f'<line class="arrow" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" '
        'marker-end="url(#head)"/>'
    )


def png(drawing: Drawing, path: Path) -> None:
    """Draw with matplotlib, light, at twice the size in px."""
    import importlib

    figure_class: Any = importlib.import_module("matplotlib.figure").Figure
    patches: Any = importlib.import_module("matplotlib.patches")
    dpi = 200
    figure: Any = figure_class(figsize=(WIDTH / 100, drawing.height / 100), dpi=dpi)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(drawing.height, 0)
    axes.axis("off")
    for shape in drawing.shapes:
        if isinstance(shape, Box):
            axes.add_patch(
                patches.FancyBboxPatch(
                    (shape.x + 7, shape.y + 7), shape.width - 14, shape.height - 14,
                    boxstyle="round,pad=7", linewidth=1,
                    facecolor=_LIGHT[shape.kind], edgecolor=_LIGHT[f"{shape.kind}-edge"],
                )
            )  # fmt: skip
        elif isinstance(shape, Text):
            axes.text(
                shape.x, shape.y, shape.content,
                fontsize=_SIZES[shape.style] * 0.62,  # px at 100 per inch, in points, wider face
                ha="right" if shape.at_end else "left",
                color=_LIGHT["title" if shape.style in {"title", "flow"} else "text"],
                weight="bold" if shape.style == "title" else "normal",
                family="monospace" if shape.style == "flow" else "sans-serif",
            )  # fmt: skip
        else:
            axes.add_patch(
                patches.FancyArrowPatch(
                    shape.start, shape.end, arrowstyle="-|>", mutation_scale=8,
                    shrinkA=0, shrinkB=0, color=_LIGHT["line"], linewidth=1,
                )
            )  # fmt: skip
    figure.savefig(path, dpi=dpi, facecolor=_LIGHT["page"])
