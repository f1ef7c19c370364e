"""docs/images/dashboard.svg: the dashboard, drawn from its JSON as CloudWatch lays it out.

Widgets stand in the grid of 24 columns that the JSON names; ``dashboard-phone.svg`` has the same
widgets one below the other, as CloudWatch shows them on a phone. The figures are simulated
(simulated.py), and the picture says so: what is real is what the JSON holds, which is every widget,
metric, expression, bound and query.

Leaves out: CloudWatch's own look, such as its menus and its time selector.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cdk.drawing import simulated
from cdk.drawing.account import AccountTemplates
from cdk.drawing.canvas import WIDTH, Canvas
from cdk.drawing.metric_math import compute

_COLUMN, _UNIT = 50, 44  # px of the grid at a desk
_MARGIN, _GAP, _TITLE = 14, 4, 44
_PHONE_UNIT = 38
_PHONE_HEIGHTS = {"alarm": 5, "text": 4}  # units, of what breaks into more lines there
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class _Line:
    label: str
    colour: str
    right: bool
    values: simulated.Series


def body_of(account: AccountTemplates) -> dict[str, Any]:
    """The dashboard's body, as the template holds it."""
    [dashboard] = account.of_type("AWS::CloudWatch::Dashboard")
    return json.loads(dashboard.properties["DashboardBody"])


def draw(body: Mapping[str, Any], *, phone: bool = False) -> str:
    """The picture's SVG."""
    widgets: list[dict[str, Any]] = body["widgets"]
    places = list(_column(widgets) if phone else _grid(widgets))
    width = WIDTH if phone else 24 * _COLUMN + 2 * _MARGIN
    canvas = Canvas(width)
    canvas.text(_MARGIN, 27, "The dashboard, drawn from its JSON", "head")
    canvas.text(_MARGIN, 43, "every figure is simulated", "setting")
    for widget, box in zip(widgets, places, strict=True):
        _widget(canvas, widget, box)
    bottom = max(box.y + box.height for box in places)
    return canvas.svg(bottom + _MARGIN, "The dashboard drawn from its JSON, with simulated figures")


def _grid(widgets: Sequence[Mapping[str, Any]]) -> Iterator[_Box]:
    for one in widgets:
        x, y = one["x"] * _COLUMN + _MARGIN, one["y"] * _UNIT + _MARGIN + _TITLE
        yield _Box(x, y, one["width"] * _COLUMN - _GAP, one["height"] * _UNIT - _GAP)


def _column(widgets: Sequence[Mapping[str, Any]]) -> Iterator[_Box]:
    y: float = _MARGIN + _TITLE
    for one in widgets:
        units = _PHONE_HEIGHTS.get(one["type"], int(one["height"]))
        yield _Box(_MARGIN, y, WIDTH - 2 * _MARGIN, units * _PHONE_UNIT - _GAP)
        y += units * _PHONE_UNIT


def _widget(canvas: Canvas, widget: Mapping[str, Any], box: _Box) -> None:
    properties: Mapping[str, Any] = widget["properties"]
    canvas.box(box.x, box.y, box.width, box.height, fill="#ffffff", edge="#cbd5e1", round_px=4)
    if widget["type"] == "text":
        _text(canvas, properties["markdown"], box)
        return
    canvas.text(box.x + 8, box.y + 17, properties["title"], "title")
    inner = _Box(box.x + 8, box.y + 26, box.width - 16, box.height - 32)
    match widget["type"]:
        case "alarm":
            _alarms(canvas, properties["alarms"], inner)
        case "log":
            _table(canvas, simulated.rows(properties["title"]), inner)
        case _ if properties["view"] == "singleValue":
            _numbers(canvas, list(_lines(properties)), inner)
        case _:
            _chart(canvas, properties, inner)


def _text(canvas: Canvas, markdown: str, box: _Box) -> None:
    heading, _, words = markdown.partition("\n")
    canvas.text(box.x + 10, box.y + 24, heading.lstrip("# "), "head")
    plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", words)
    for number, line in enumerate(textwrap.wrap(plain, int(box.width / 6.6))):
        canvas.text(box.x + 10, box.y + 44 + 15 * number, line)


def _alarms(canvas: Canvas, arns: Sequence[str], box: _Box) -> None:
    columns = max(1, int(box.width // 185))
    width = box.width / columns
    for number, arn in enumerate(arns):
        name = arn.rpartition(":")[2]
        shown = name.split("-", 3)[-1] if name.startswith("slm-edge-") else name
        rings = simulated.in_alarm(name)
        x = box.x + number % columns * width
        y = box.y + number // columns * 34
        fill, edge = ("#fee2e2", "#dc2626") if rings else ("#dcfce7", "#16a34a")
        canvas.box(x, y, width - 6, 29, fill=fill, edge=edge, round_px=3)
        canvas.text(x + 6, y + 12, "In alarm" if rings else "OK", "tag")
        canvas.text(x + 6, y + 24, shown, "name")


def _table(canvas: Canvas, rows: Sequence[Sequence[str]], box: _Box) -> None:
    """The last column gets what the others leave."""
    wide = len(rows[0]) > 1 and len(rows[-1][-1]) > 20
    shares = [0.14] * (len(rows[0]) - 1) if wide else [1 / len(rows[0])] * (len(rows[0]) - 1)
    if wide and box.width < 500:
        shares = [0.25] * (len(rows[0]) - 1)
    for number, row in enumerate(rows):
        x, y = box.x, box.y + 14 + 20 * number
        for column, cell in enumerate(row):
            room = shares[column] if column < len(shares) else 1 - sum(shares)
            shown = textwrap.shorten(cell, max(8, int(room * box.width / 6.1)), placeholder="…")
            canvas.text(x, y, shown, "tag" if number == 0 else "")
            x += room * box.width
        canvas.line([(box.x, y + 5), (box.x + box.width, y + 5)], "#e2e8f0", head=False)


def _numbers(canvas: Canvas, lines: Sequence[_Line], box: _Box) -> None:
    columns = 2
    for number, line in enumerate(lines):
        x = box.x + number % columns * box.width / columns
        y = box.y - 6 + number // columns * (box.height / 2)
        known = [value for value in line.values if value is not None]
        canvas.text(x, y + 22, _short(known[-1]) if known else "–", "head")
        canvas.box(x, y + 31, 8, 8, fill=line.colour, round_px=1)
        canvas.text(x + 12, y + 39, line.label, "tag")


# Charts -----------------------------------------------------------------------------------


def _lines(properties: Mapping[str, Any]) -> Iterator[_Line]:
    """The visible lines; expressions are computed from the hidden ones."""
    by_id: dict[str, simulated.Series] = {}
    shown = 0
    for entry in cast("list[list[Any]]", properties["metrics"]):
        options: dict[str, Any] = entry[-1]
        if "expression" in options:
            values = [
                compute(options["expression"], {key: one[day] for key, one in by_id.items()})
                for day in range(simulated.DAYS)
            ]
        else:
            names = entry[2:-1]
            values = simulated.series(entry[1], dict(zip(names[::2], names[1::2], strict=True)))
            by_id[options.get("id", "")] = values
        if options.get("visible", True):
            colour = options.get("color", _COLOURS[shown % len(_COLOURS)])
            yield _Line(options["label"], colour, options.get("yAxis") == "right", values)
            shown += 1


def _chart(canvas: Canvas, properties: Mapping[str, Any], box: _Box) -> None:
    lines = list(_lines(properties))
    bounds: list[dict[str, Any]] = properties.get("annotations", {}).get("horizontal", [])
    legend = list(_legend(lines, box.width))
    plot = _Box(box.x + 34, box.y + 4, box.width - 72, box.height - 20 - 15 * len(legend))
    for right in (False, True):
        mine = [line for line in lines if line.right == right]
        if mine:
            stacked = bool(properties.get("stacked"))
            marks = [] if right else bounds
            _axis(canvas, mine, plot, marks, right=right, stacked=stacked)
    canvas.text(plot.x, plot.y + plot.height + 13, "4 weeks ago", "tag")
    canvas.text(plot.x + plot.width, plot.y + plot.height + 13, "today", "tag", anchor="end")
    for number, row in enumerate(legend):
        x = box.x
        y = box.y + box.height - 15 * (len(legend) - 1 - number)
        for line in row:
            canvas.box(x, y - 8, 8, 8, fill=line.colour, round_px=1)
            canvas.text(x + 12, y, line.label, "tag")
            x += 26 + 5.7 * len(line.label)


def _legend(lines: Sequence[_Line], width: float) -> Iterator[list[_Line]]:
    row: list[_Line] = []
    used = 0.0
    for line in lines:
        room = 26 + 5.7 * len(line.label)
        if row and used + room > width:
            yield row
            row, used = [], 0.0
        row.append(line)
        used += room
    yield row


def _axis(
    canvas: Canvas,
    lines: Sequence[_Line],
    plot: _Box,
    bounds: Sequence[Mapping[str, Any]],
    *,
    right: bool,
    stacked: bool,
) -> None:
    """The lines of one axis with its scale, and bounds as dashed lines."""
    drawn = _stacked(lines) if stacked else [line.values for line in lines]
    known = [value for values in drawn for value in values if value is not None]
    marks = [float(one["value"]) for one in bounds]
    low, high = _scale([*known, *marks])

    def place(day: int, value: float) -> tuple[float, float]:
        x = plot.x + plot.width * day / (simulated.DAYS - 1)
        return x, plot.y + plot.height * (1 - (value - low) / (high - low))

    for value in (low, (low + high) / 2, high):
        _, y = place(0, value)
        canvas.line([(plot.x, y), (plot.x + plot.width, y)], "#e2e8f0", head=False)
        at = plot.x + plot.width + 4 if right else plot.x - 4
        canvas.text(at, y + 4, _short(value), "tag", anchor="start" if right else "end")
    for line, values in zip(lines, drawn, strict=True):
        points = [place(day, one) for day, one in enumerate(values) if one is not None]
        if len(points) > 1:
            canvas.line(points, line.colour, head=False)
        if len(points) < 10:
            for x, y in points:
                canvas.box(x - 2.5, y - 2.5, 5, 5, fill=line.colour, round_px=2.5)
    for one in bounds:
        _, y = place(0, float(one["value"]))
        canvas.line([(plot.x, y), (plot.x + plot.width, y)], "#dc2626", dashed=True, head=False)
        canvas.text(plot.x + 4, y - 3, str(one["label"]), "tag")


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """From zero, or from close below where all values lie close together, such as shares near 1."""
    low, high = min(values, default=0.0), max([*values, 1e-9])
    if low <= 0.6 * high or low == high:
        low = min(low, 0.0)
    else:
        low -= 0.1 * (high - low)
    return low, high + 0.06 * (high - low)


def _stacked(lines: Sequence[_Line]) -> list[simulated.Series]:
    """Each line on top of those before it."""
    total = [0.0] * simulated.DAYS
    drawn: list[simulated.Series] = []
    for line in lines:
        total = [have + (more or 0.0) for have, more in zip(total, line.values, strict=True)]
        drawn.append([
            None if value is None else have
            for have, value in zip(total, line.values, strict=True)
        ])  # fmt: skip
    return drawn


def _short(value: float) -> str:
    """``24k``, ``6.4`` or ``0.934``."""
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f}k"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.3g}"
