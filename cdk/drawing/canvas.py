"""Rectangles, lines and text as one SVG file, light, for a phone and for a desk.

Everything is ``WIDTH`` px wide: a phone shows it at 0.85 of that, so 10 px type stays legible. What
is read at a desk may be wider. Leaves out: where things stand (infrastructure.py, security.py,
dashboard.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH = 420

_CSS = """\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;fill:#334155;\
font-size:11.5px}
.head{font-size:16px;font-weight:600;fill:#0f172a}
.panel{font-size:13.5px;font-weight:600;fill:#0f172a}
.title{font-size:13px;font-weight:600;fill:#0f172a}
.tag{font-size:10.5px;fill:#64748b}
.setting{font-size:10.5px;fill:#64748b;font-style:italic}
.name{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:9.6px;\
fill:#475569}
.cell,.narrow{font-size:9px;font-weight:600;fill:#0f172a} .narrow{font-size:7.8px}
.line{fill:none;stroke-width:1.5}"""


class Canvas:
    """Collects shapes; coordinates are px from the top left corner."""

    def __init__(self, width: float = WIDTH) -> None:
        self._width = width
        self._shapes: list[str] = []
        self._heads: dict[str, None] = {}

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str,
        edge: str = "none",
        dashed: bool = False,
        round_px: float = 7,
    ) -> None:
        """A rounded rectangle."""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_px:g}" '
            f'fill="{fill}" stroke="{edge}"{dash}/>'
        )

    def text(
        self, x: float, y: float, content: str, style: str = "", *, anchor: str = "start",
        upright: bool = False,
    ) -> None:  # fmt: skip
        """A line of text; ``y`` is its baseline. ``upright`` turns it to read from the bottom."""
        turned = f' transform="rotate(-90 {x:g} {y:g})"' if upright else ""
        kind = f' class="{style}"' if style else ""
        side = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._shapes.append(
            f'<text{kind} x="{x:g}" y="{y:g}"{side}{turned}>{escape(content)}</text>'
        )

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False,
        head: bool = True,
    ) -> None:  # fmt: skip
        """A line through ``points``, with an arrow's head at its end."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        dash = ' stroke-dasharray="3 3"' if dashed else ""
        marker = ""
        if head:
            self._heads[colour] = None
            marker = f' marker-end="url(#{_head_id(colour)})"'
        self._shapes.append(f'<path class="line" d="{path}" stroke="{colour}"{dash}{marker}/>')

    def svg(self, height: float, summary: str) -> str:
        """The file's text; ``summary`` is read to those who do not see it."""
        heads = "".join(
            f'<marker id="{_head_id(colour)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
            for colour in self._heads
        )
        body = "\n".join(self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width:g}" '
            f'height="{height:g}" viewBox="0 0 {self._width:g} {height:g}" role="img" '
            'style="max-width:100%;height:auto">\n'
            f"<title>{escape(summary)}</title>\n<style>{_CSS}</style>\n<defs>{heads}</defs>\n"
            f'<rect width="{self._width:g}" height="{height:g}" rx="12" fill="#ffffff"/>\n{body}\n'
            "</svg>\n"
        )


def _head_id(colour: str) -> str:
    return f"head-{colour.removeprefix('#')}"
