"""The table of parameters in docs/studio.md says what pipeline/parameters.py has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.parameters import Parameter, parameters
from pipeline.sections import PROCESSING_INSTANCES, TRAINING_INSTANCES
from pipeline.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "studio.md"
MACHINES = (PROCESSING_INSTANCES, TRAINING_INSTANCES)


def rows() -> list[tuple[str, str, tuple[str, ...], str]]:
    """Name, default, choices and explanation, as the page has them."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"`[A-Z]\w+`", cells[0]):
            name, default, choices, said = cells
            found.append((name[1:-1], default[1:-1], tuple(re.findall(r"`(\w+)`", choices)), said))
    return found


def test_every_parameter_is_explained_in_studios_order():
    assert [row[0] for row in rows()] == [one.name for one in parameters(Settings.load("dev"))]


@pytest.mark.parametrize("parameter", parameters(Settings.load("dev")), ids=lambda one: one.name)
def test_default_and_choices_are_those_that_are_deployed(parameter: Parameter):
    [(_, default, choices, said)] = [row for row in rows() if row[0] == parameter.name]
    assert default == str(parameter.default)
    assert choices == (() if parameter.choices in MACHINES else parameter.choices)
    assert len(said.split()) >= 5
