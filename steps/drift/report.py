"""``drift.html``: one self-contained page, made from ``drift.json`` alone.

It wears the evaluation's style, links to nothing and runs no script. Names of intents and versions
in it come from outside and are escaped. Left out: anything about a single device or window.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.drift.checking import DRIFT, NO_DRIFT, NO_REFERENCE, NOT_ENOUGH
from steps.evaluate.report import breakable, percent

TITLES = {
    "intents": "Intents",
    "out_of_scope": "Out of scope",
    "confidence": "Confidence",
    "energy": "Energy",
    "tokens": "Length, in tokens",
    "unknown": "Unknown tokens",
}
MEANINGS = {
    "intents": "What is asked for, by the intent that was answered.",
    "out_of_scope": "Answers that were rejected: nothing that the model knows.",
    "confidence": "Calibrated probability of the best candidate.",
    "energy": "The lower, the less like the training data.",
    "tokens": "Longer without more words: words that the tokenizer has to take apart.",
    "unknown": "Utterances with a token that the tokenizer does not know.",
}
SIGNS = {DRIFT: "✗", NO_DRIFT: "✓", NOT_ENOUGH: "–", NO_REFERENCE: "–"}
ADVICE = {
    DRIFT: (
        "Look at the figures that are over their thresholds, the furthest first. More out of "
        "scope and less energy: people ask for what the model was not taught. Other intents only: "
        "people use it differently; the model may still be right, but its test split says less. "
        "Then collect and label utterances of now, and train on them (retraining on a drift event "
        "takes the newest dataset, and makes the model better only if that holds what is new)."
    ),
    NO_DRIFT: "There is nothing to do. What counts cannot show is said below.",
    NOT_ENOUGH: (
        "Wait for more, or check a longer period (--period-hours 168): what is there says nothing "
        "either way."
    ),
    NO_REFERENCE: (
        "Put the reference of the version where the sentence says: slm fleet deploy does with the "
        "version's package, and changes nothing else."
    ),
}
SHOWN = 12
"""Groups of a figure that are drawn: those that moved most, in their own order."""


def render(drift: dict[str, Any]) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader([here, here.parent / "evaluate"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "breakable": breakable, "time": time}
    return environment.get_template("drift.html").render(
        drift=drift,
        versions=[_version(version) for version in drift["versions"]],
        titles=TITLES,
        signs=SIGNS,
        advice=[item for item in ADVICE.items() if item[0] in _statuses(drift)],
    )


def time(text: str) -> str:
    """``2026-11-23T00:00:00Z`` as a person writes it."""
    return f"{text[:10]} {text[11:16]} UTC"


def _statuses(drift: dict[str, Any]) -> set[str]:
    return {version["status"] for version in drift["versions"]} or {NOT_ENOUGH}


def _version(version: dict[str, Any]) -> dict[str, Any]:
    newest = version["periods"][-1] if version["periods"] else None
    return {
        **version,
        "newest": newest,
        "figures": [_figure(figure) for figure in newest["figures"]] if newest else [],
        "history": [_past(period) for period in version["periods"]],
    }


def _figure(figure: dict[str, Any]) -> dict[str, Any]:
    """A figure with what is needed to draw it: the bar ends at twice the threshold."""
    tested = figure["statistic"] is not None
    end = max(2 * figure["threshold"], figure["statistic"], 1e-9) if tested else 1.0
    groups = list(zip(figure["labels"], figure["reference"], figure["now"], strict=True))
    moved = sorted(groups, key=lambda group: -abs(group[2] - group[1]))[:SHOWN]
    most = max([share for _, before, now in groups for share in (before, now)] or [1.0])
    return {
        **figure,
        "title": TITLES[figure["name"]],
        "meaning": MEANINGS[figure["name"]],
        "tested": tested,
        "share": figure["statistic"] / end if tested else 0,
        "bound_share": figure["threshold"] / end if tested else 0,
        "groups": [
            {
                "label": label,
                "before": before,
                "now": now,
                "before_width": before / most,
                "now_width": now / most,
            }
            for label, before, now in groups
            if (label, before, now) in moved
        ],
        "left_out": max(len(groups) - SHOWN, 0),
    }


def _past(period: dict[str, Any]) -> dict[str, Any]:
    """A period as a row: its figures in multiples of their thresholds."""
    return {
        **period,
        "ratios": {
            figure["name"]: (
                figure["statistic"] / figure["threshold"]
                if figure["statistic"] is not None
                else None
            )
            for figure in period["figures"]
        },
    }
