"""The report: self-contained, escaped, whole with many intents and with few."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from steps.evaluate import charts, confusions, report, sections
from steps.evaluate.baseline import Baseline
from steps.evaluate.config import EvaluationConfig
from steps.evaluate.evaluate import Evidence, _gate
from steps.evaluate.metrics import confusion_matrix
from steps.evaluate.robustness import Sample, measure
from steps.evaluate.scoring import Rows, Scores

EVIL = '<script>alert("x")</script>'


def synthetic(intents: int, *, outside: int = 60, threshold: float = 4.0, skill: float = 3.0):
    """An evaluation of random logits: what a model of some skill would have answered."""
    generator = np.random.default_rng(intents)
    labels = np.r_[np.tile(np.arange(intents), 6), np.full(outside, -1)].astype(np.int32)
    logits = generator.normal(0, 1, (len(labels), intents)).astype(np.float32)
    inside = labels >= 0
    logits[np.flatnonzero(inside), labels[inside]] += skill
    names = [f"intent_number_{label}" for label in range(intents)]
    texts = [f"utterance {row}" for row in range(len(labels))]
    wrong = np.flatnonzero(inside & (logits.argmax(axis=1) != labels))
    if len(wrong):
        texts[wrong[0]] = EVIL
    rows = Rows(texts, [names[label] if label >= 0 else "out_of_scope" for label in labels],
                labels, [])  # fmt: skip
    scores = Scores.of(logits, 1.3)
    figures = sections.figures(rows, scores, threshold, intents, 0)
    confusion = confusion_matrix(labels[inside], scores.predicted[inside], intents)
    fitted = Baseline(texts, labels, 0)
    baseline, baseline_score = sections.baseline(rows, fitted, intents, 0)
    sample = Sample.draw(texts, labels, 0)
    finite = bool(np.isfinite(threshold))
    evaluation = {
        "figures": figures
        | {"energy_threshold": threshold if finite else None, "temperature": 1.3},
        "intents": sections.intents(confusion, names),
        "baseline": baseline,
        "champion": None,
        "regression": None,
        "robustness": measure(sample, {"model": fitted.predict, "baseline": fitted.predict}, 0),
        "latency": {
            "runtime": "PyTorch eager", "threads": 1, "utterances": 9, "median_ms": 0.4,
            "p95_ms": 12.0, "bytes": 90_000_000,
        },
        "provenance": sections.provenance(
            {"hyperparameters": {"epochs": EVIL}, "versions": {"torch": "2"}, "seconds": 75.0,
             "parameters": 22_700_000},
            {"rows": {"train": 1000, "test": 5}},
        ),
    } | _gate(figures, None, None, EvaluationConfig())  # fmt: skip
    evidence = Evidence(rows, scores, names, threshold, 1.3, confusion, baseline_score)
    return evaluation, evidence


class Page(HTMLParser):
    """Collects what a page links to and checks that its elements are closed."""

    VOID = ("meta", "link", "input", "br", "wbr", "line", "path", "circle", "polyline", "polygon")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def many():
    evaluation, evidence = synthetic(40, skill=2.5)
    return evaluation, evidence, report.render(evaluation, evidence)


def test_the_page_is_whole_and_links_to_nothing(many):
    page = Page(many[2])
    assert page.open == []
    assert page.links == []
    assert page.scripts == 1
    assert not re.search(r"https?://|url\(|@import", many[2])


def test_an_utterance_that_is_markup_is_shown_and_not_run(many):
    assert EVIL not in many[2]
    assert many[2].count("&lt;script&gt;alert(") >= 2


def test_every_intent_is_listed_and_only_the_most_confused_are_drawn(many):
    evaluation, evidence, text = many
    assert text.count("<tr><td>intent_<wbr>number_<wbr>") == 40
    matrix = confusions.matrix(evidence.confusion, evidence.intents)
    assert not matrix.whole
    assert 2 <= len(matrix.intents) <= confusions.DRAWN
    for name, cells, elsewhere in zip(matrix.intents, matrix.cells, matrix.elsewhere, strict=True):
        assert sum(cells) + elsewhere == evidence.confusion[evidence.intents.index(name)].sum()
    listed = [entry["f1"] for entry in evaluation["intents"]]
    assert f"{min(listed) * 100:.1f}</span>" in text[text.index("intents plain") :][:1500]


def test_the_worst_pairs_come_first_with_the_surest_mistakes(many):
    _, evidence, _ = many
    pairs = confusions.worst_pairs(
        evidence.confusion, evidence.rows, evidence.scores, evidence.intents
    )
    assert [pair.rows for pair in pairs] == sorted((p.rows for p in pairs), reverse=True)
    for pair in pairs:
        sure = [example.confidence for example in pair.examples]
        assert sure == sorted(sure, reverse=True)
        assert all(example.taken_for == pair.taken_for for example in pair.examples)


def test_a_model_without_mistakes_has_no_confusions():
    evaluation, evidence = synthetic(3, skill=60.0, threshold=float("-inf"))
    text = report.render(evaluation, evidence)
    assert "No in-scope test utterance was taken for another intent" in text
    assert "rejects nothing" in text
    assert Page(text).open == []


def test_few_intents_are_drawn_whole_and_a_closed_gate_says_why():
    evaluation, evidence = synthetic(5, skill=1.0)
    text = report.render(evaluation, evidence)
    assert "The gate is closed" in text
    assert evaluation["gate"]["message"] in text
    assert "Rows are the true intents" in text


def test_without_out_of_scope_utterances_the_page_says_not_measured():
    evaluation, evidence = synthetic(4, outside=0)
    text = report.render(evaluation, evidence)
    assert text.count("not measured") == 1
    assert "Not measured: the test split has no out-of-scope utterances" in text
    assert "What a threshold can buy" not in text


def test_a_champion_stands_beside_and_foreign_data_are_pointed_out():
    evaluation, evidence = synthetic(4)
    evaluation["champion"] = {
        "name": "models:/intents/3", "version": 3, "created": "2026", "p_value": 0.25,
        "champion_alone_right": 4, "candidate_alone_right": 3,
    } | {key: evaluation["baseline"][key] for key in ("accuracy", "macro_f1")}  # fmt: skip
    evaluation["provenance"]["dataset_sha256"] = "1234"
    text = report.render(evaluation, evidence)
    assert "with probability 0.250" in text
    assert "<dt>Champion</dt>" in text
    assert "names other training data" in text


def test_a_long_utterance_is_shortened(many):
    _, evidence, _ = many
    evidence.rows.texts[0] = "la " * 400
    shown = confusions.example(0, evidence.rows, evidence.scores, evidence.intents)
    assert len(shown.text) == 140
    assert shown.text.endswith("…")


def test_a_page_of_a_large_test_split_stays_small():
    generator = np.random.default_rng(0)
    inside, outside = generator.normal(9, 2, 20_000), generator.normal(5, 2, 9_000)
    roc = charts.roc_chart(inside, outside, (inside, outside), threshold=6.0)
    assert len(roc.model) < 8_000
    assert charts.energy_chart(inside, outside, 6.0).ticks
    assert 4 <= len(charts.energy_chart(inside, outside, float("-inf")).ticks) <= 9


def test_equal_energies_have_a_picture_too():
    same = np.full(5, 3.0)
    chart = charts.energy_chart(same, np.array([]), float("-inf"))
    assert chart.outside is None
    assert chart.threshold is None
    assert "nan" not in chart.inside


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.24, "1.2 s"), (36.2, "36 s"), (119.7, "120 s"), (223.0, "3 min 43 s")]
)
def test_durations_read_as_a_person_says_them(seconds, text):
    assert report.duration(seconds).replace("\N{NARROW NO-BREAK SPACE}", " ") == text
