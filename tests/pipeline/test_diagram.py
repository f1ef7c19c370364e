"""The diagram: every step is in the picture, inside its page, light and dark."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline import diagram
from pipeline.diagram import Box, Text, draw, svg, write

GET = {"Get": "Parameters.MinAccuracy"}
FIGURE = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.e"}, "Path": "gate.acc"}}


def gate(*conditions: dict[str, Any]) -> dict[str, Any]:
    closed = {"Name": "Closed", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}
    package = {"Name": "Package", "Type": "Processing", "Arguments": {}}
    return {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {"Conditions": conditions, "IfSteps": [package], "ElseSteps": [closed]},
    }


DEFINITION: dict[str, Any] = {
    "Parameters": [{"Name": "MinAccuracy", "Type": "Float", "DefaultValue": 0.8}],
    "Steps": [
        {
            "Name": "Prepare",
            "Type": "Processing",
            "DisplayName": "Prepare <the> data",
            "Description": "Cleans & splits. " * 8,
            "Arguments": {
                "ProcessingInputs": [{"InputName": f"a-long-input-name-{n}"} for n in range(4)],
                "ProcessingOutputConfig": {"Outputs": [{"OutputName": "prepared"}]},
            },
        },
        {
            "Name": "Train",
            "Type": "Training",
            "Arguments": {"InputDataConfig": [{"ChannelName": "prepared"}]},
        },
        gate(
            {"Type": "GreaterThanOrEqualTo", "LeftValue": FIGURE, "RightValue": GET},
            {
                "Type": "Or",
                "Conditions": [
                    {"Type": "Equals", "LeftValue": FIGURE, "RightValue": 0},
                    {
                        "Type": "Not",
                        "Condition": {"Type": "In", "QueryValue": GET, "Values": [1, 2]},
                    },
                ],
            },
        ),
    ],
}


def texts(definition: dict[str, Any] = DEFINITION) -> list[str]:
    return [shape.content for shape in draw(definition).shapes if isinstance(shape, Text)]


def test_every_step_has_a_card_with_its_title_and_flow():
    found = texts()
    for title in ("Prepare <the> data", "Train", "Gate", "Closed", "Package"):
        assert title in found
    assert "prepared → model" in found


def test_conditions_are_written_out_with_the_parameters_defaults():
    found = texts()
    assert "acc ≥ MinAccuracy (0.8)" in found
    assert "acc = 0 or not (MinAccuracy (0.8) in 1, 2)" in found


def test_nothing_leaves_the_page_or_overlaps_another_card():
    drawing = draw(DEFINITION)
    boxes = [shape for shape in drawing.shapes if isinstance(shape, Box)]
    assert all(b.x >= 0 and b.x + b.width <= diagram.WIDTH for b in boxes)
    assert all(b.y + b.height <= drawing.height for b in boxes)
    below = sorted(boxes, key=lambda box: box.y)
    assert all(a.y + a.height <= b.y for a, b in pairwise(below))
    assert max(len(content) for content in texts()) <= 56


def test_the_svg_is_well_formed_escaped_and_follows_light_and_dark():
    text = svg(draw(DEFINITION))
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    assert root.attrib["viewBox"].startswith("0 0 420 ")
    assert "Prepare &lt;the&gt; data" in text
    assert "prefers-color-scheme:dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_same_definition_draws_the_same_bytes(tmp_path: Path):
    for name in ("a.svg", "b.svg"):
        write(DEFINITION, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_png_is_drawn_where_matplotlib_is(tmp_path: Path):
    pytest.importorskip("matplotlib")
    write(DEFINITION, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_another_suffix_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"picture\.gif is neither \.svg nor \.png"):
        write(DEFINITION, tmp_path / "picture.gif")
