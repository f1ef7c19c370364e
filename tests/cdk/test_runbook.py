"""The runbook: a section for everything that somebody is told of, and none for anything else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.monitoring import TOLD
from tests.cdk.conftest import Synthesizer
from tests.cdk.synthesized import Synthesized

pytestmark = pytest.mark.infra

LINK = re.compile(r"docs/runbook\.md#([a-z-]+)")


@pytest.fixture(scope="session")
def whole(synthesized: Synthesizer) -> Synthesized:
    return synthesized("dev", whole=True)


@pytest.fixture(scope="module")
def sections(repository: Path) -> dict[str, str]:
    """The text of each section, by its anchor: headings are in small letters and hyphens."""
    text = (repository / "docs" / "runbook.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ([a-z-]+)$", text, flags=re.MULTILINE)[1:]
    assert len(parts) == 2 * len(re.findall(r"^## ", text, flags=re.MULTILINE))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_there_is_a_section_for_everything_that_is_told_and_no_other(
    sections: dict[str, str],
) -> None:
    assert set(sections) == set(TOLD)


@pytest.mark.parametrize("section", TOLD)
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(
    sections: dict[str, str], section: str
) -> None:
    places = [sections[section].find(f"**{word}**") for word in ("Means", "Look", "Do")]
    assert -1 < places[0] < places[1] < places[2]
    assert re.search(r"^(slm|aws) ", sections[section], flags=re.MULTILINE)


def test_every_link_of_every_stack_leads_to_a_section(
    whole: Synthesized, sections: dict[str, str]
) -> None:
    linked = set(LINK.findall(json.dumps(whole.templates)))
    assert linked == set(sections)


def test_every_alarm_and_every_rule_that_mails_has_a_link(whole: Synthesized) -> None:
    for kind in ("AWS::CloudWatch::Alarm", "AWS::Events::Rule"):
        for logical_id, one in whole.resources(kind).items():
            text = json.dumps(one["Properties"])
            mails = kind.endswith("Alarm") or ":sns:" in text
            assert not mails or LINK.search(text), logical_id


def test_settings_that_the_runbook_names_exist(sections: dict[str, str], repository: Path) -> None:
    from pipeline.sections import Budget, Monitoring, Retraining, Training

    known = {"monitoring": Monitoring, "retraining": Retraining, "budget": Budget,
             "training": Training}  # fmt: skip
    text = (repository / "docs" / "runbook.md").read_text(encoding="utf-8")
    named = re.findall(r"`\[(\w+)\] (\w+)", text)
    assert len(named) > 5
    for section, key in named:
        assert key in known[section].model_fields
