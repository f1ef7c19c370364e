"""The regression set in an evaluation: measured, gated, beside the champion's, and reported."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from steps.archive import pack
from steps.contract import StepError
from steps.evaluate import __main__ as command
from steps.evaluate import report
from steps.evaluate.config import EvaluationConfig, EvaluationPaths
from steps.evaluate.evaluate import evaluate
from tests.steps.evaluate.test_champion import Shelf
from tests.steps.evaluate.test_evaluate import OPEN
from tests.steps.evaluate.test_report import EVIL, Page, synthetic
from tests.tiny import TINY_INTENTS

TEXTS = ("turn the lamp off", "will it rain", "some jazz please", "lamp off")
CASES = [
    # of each text with every intent: a model that rejects nothing passes exactly one of three
    *({"kind": "must_pass", "text": t, "intent": i} for t in TEXTS for i in TINY_INTENTS),
    {"kind": "invariance", "texts": ["lamp off", "lamp off"]},
    {"kind": "direction", "from": "lamp off", "to": "lamp off!", "effect": "becomes",
     "intent": "weather", "changes": EVIL},
]  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_prepared) -> Path:
    folder = shutil.copytree(tiny_prepared, tmp_path_factory.mktemp("with") / "prepared")
    lines = "".join(json.dumps(case) + "\n" for case in CASES)
    (folder / "regression.jsonl").write_text(lines)
    return folder


@pytest.fixture(scope="module")
def model_and_champion(tmp_path_factory, tiny_model) -> tuple[Path, Path]:
    """The tiny model rejecting nothing is the champion; rejecting everything, the candidate."""
    folder = tmp_path_factory.mktemp("rivals")
    rule = json.loads((tiny_model / "intents.json").read_text())
    found = []
    for name, threshold in (("candidate", 1e9), ("champion", None)):
        model = shutil.copytree(tiny_model, folder / name)
        changed = rule | {"energy_threshold": threshold}
        (model / "intents.json").write_text(json.dumps(changed))
        found.append(model)
    return found[0], pack(found[1], folder / "champion.tar.gz")


def test_a_model_that_rejects_everything_loses_what_the_champion_passes_and_closes_the_gate(
    tmp_path, monkeypatch, prepared, model_and_champion, read_json
):
    model, champion = model_and_champion
    monkeypatch.setattr("steps.registry.open_registry", lambda group: Shelf(champion))
    config = EvaluationConfig(
        min_accuracy=0, min_out_of_scope_auroc=0, max_calibration_error=1, min_champion_p_value=0,
        model_package_group="intents",
    )  # fmt: skip
    evaluation = evaluate(EvaluationPaths(model, prepared, tmp_path), config)
    assert read_json(tmp_path / "evaluation.json")["regression"] == evaluation["regression"]
    found, gate = evaluation["regression"], evaluation["gate"]
    assert found["cases"] == gate["regression_cases"] == len(CASES) == 14
    assert found["kinds"] == {
        "must_pass": {"cases": 12, "passed": 0},
        "invariance": {"cases": 1, "passed": 1},
        "direction": {"cases": 1, "passed": 0},
    }
    assert found["pass_rate"] == gate["regression_pass_rate"] == 1 / 14
    assert [{k: v for k, v in case.items() if k != "found"} for case in found["failures"]] == [
        case for case in CASES if case["kind"] != "invariance"
    ]
    assert found["lost_intents"] == TINY_INTENTS
    assert gate["message"].split("; ") == [
        "regression_pass_rate 0.0714 is below MinRegressionPassRate 0.7500",
        "lost_intents 3 is above MaxLostIntents 0",
    ]
    rival = found["champion"]
    assert rival["version"] == 3
    assert rival["kinds"]["must_pass"] == {"cases": 12, "passed": 4}
    assert [case["text"] for case in rival["lost"]] == list(TEXTS)
    assert all(case["found"].startswith("out_of_scope (") for case in rival["lost"])
    told = command.summary(evaluation)[-2]
    assert told == "regression set: 1 of 14 cases pass; 4 that the champion passed do not"
    page = (tmp_path / "report.html").read_text()
    assert page.count('<li class="lost"') == 4
    assert EVIL not in page
    assert found["sha256"] in page


def test_the_bound_is_the_configs(tmp_path, prepared, model_and_champion):
    config = replace(OPEN, min_regression_pass_rate=1 / 14, max_lost_intents=3)
    evaluation = evaluate(EvaluationPaths(model_and_champion[0], prepared, tmp_path), config)
    assert evaluation["gate"]["passed"] == 1
    assert evaluation["regression"]["champion"] is None
    assert command.summary(evaluation)[-2] == "regression set: 1 of 14 cases pass"


def test_a_set_that_was_spoiled_on_the_way_is_refused(tmp_path, tiny_prepared, tiny_model):
    spoiled = shutil.copytree(tiny_prepared, tmp_path / "prepared")
    (spoiled / "regression.jsonl").write_text("not a case\n")
    with pytest.raises(StepError, match=r"regression\.jsonl, line 1, is no JSON object"):
        evaluate(EvaluationPaths(tiny_model, spoiled, tmp_path / "out"), OPEN)
    assert not (tmp_path / "out").exists()


def failing(kind: str, count: int, **fields) -> list[dict]:
    return [{"kind": kind, "found": f"found {n}", **fields} for n in range(count)]


def page_of(written: dict) -> str:
    evaluation, evidence = synthetic(3)
    evaluation["regression"] = {"sha256": "ab" * 32, "champion": None, "lost_intents": []} | written
    return report.render(evaluation, evidence)


def test_the_page_says_of_each_kind_what_was_asked_and_what_was_found():
    failures = [
        *failing("must_reject", 1, text=EVIL),
        *failing("invariance", 1, texts=["one", "two", "three"], changes="number"),
        *failing("direction", 1, **{"from": "on", "to": "off"}, effect="not_lowers",
                 intent="lights_off"),
    ]  # fmt: skip
    kinds = {kind: {"cases": 2, "passed": 1} for kind in ("must_reject", "invariance", "direction")}
    text = page_of({"cases": 6, "pass_rate": 0.5, "kinds": kinds, "failures": failures})
    assert Page(text).open == []
    assert EVIL not in text
    assert "3 of 6 cases pass" in text
    assert "one / two / three" in text
    assert "one answer (number); found found 0" in text
    assert "should be out_<wbr>of_<wbr>scope; found found 0" in text
    assert "on → off" in text
    assert "must not be less of lights_<wbr>off" in text


def test_a_set_without_failures_and_data_without_a_set_have_a_page_too():
    kinds = {"must_pass": {"cases": 3, "passed": 3}}
    text = page_of({"cases": 3, "pass_rate": 1.0, "kinds": kinds, "failures": []})
    assert "3 of 3 cases pass" in text
    without = report.render(*synthetic(3))
    assert "The data has no regression set" in without
    assert "<h2>Regression set</h2>" not in without


def test_a_page_lists_forty_failures_a_kind_and_counts_the_others():
    failures = failing("must_pass", 50, text="la", intent="lights_off")
    kinds = {"must_pass": {"cases": 50, "passed": 0}}
    text = page_of(
        {"cases": 50, "pass_rate": 0.0, "kinds": kinds, "failures": failures,
         "lost_intents": ["lights_off", EVIL]}
    )  # fmt: skip
    assert "No utterance that must pass does so of lights_off, &lt;script&gt;" in text
    assert text.count("found found") == 40
    assert "and 10 more in evaluation.json" in text
