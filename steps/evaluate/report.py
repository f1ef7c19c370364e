"""``report.html``: one self-contained page, made from the evaluation and its evidence.

The page links to nothing, carries its own style and pictures, and reads on a phone and in the
dark. Every utterance in it is escaped: it may be ``<script>``. Left out: anything that
``evaluation.json`` does not hold or that cannot be read off the predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps.evaluate import charts, confusions, regression
from steps.evaluate.scoring import in_scope

if TYPE_CHECKING:
    from markupsafe import Markup

    from steps.evaluate.evaluate import Evidence

_TITLES = {
    "accuracy": "In-scope accuracy",
    "macro_f1": "Macro-F1",
    "out_of_scope_auroc": "Out-of-scope AUROC",
    "expected_calibration_error": "Calibration error",
    "champion_p_value": "Champion better, p-value",
    "regression_pass_rate": "Regression set",
    "lost_intents": "Intents lost in it",
}
_PERTURBATIONS = {
    "none": "as written",
    "typos": "typos",
    "dropped_words": "dropped words",
    "casing": "casing",
    "misheard": "misheard",
}
_SHARES = ("accuracy", "macro_f1", "regression_pass_rate")
_NO_BREAK = "\N{NARROW NO-BREAK SPACE}"


def percent(share: float, decimals: int = 1) -> str:
    """0.9712 as ``97.1 %``."""
    return f"{share * 100:.{decimals}f}{_NO_BREAK}%"


def figure_text(key: str, value: float) -> str:
    """A figure as the page shows it: shares of rows in per cent, counts, the others as decimals."""
    if key == "lost_intents":
        return str(value)
    return percent(value) if key in _SHARES else f"{value:.3f}"


def interval_text(key: str, figure: dict[str, float]) -> str:
    """The interval of a figure, in the figure's own unit."""
    if key in ("accuracy", "macro_f1"):
        return f"{figure['low'] * 100:.1f} – {figure['high'] * 100:.1f}"
    return f"{figure['low']:.3f} – {figure['high']:.3f}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:
        return f"{seconds:.1f}{_NO_BREAK}s"
    if seconds < 120:
        return f"{seconds:.0f}{_NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{_NO_BREAK}min {rest:02}{_NO_BREAK}s"


def milliseconds(value: float) -> str:
    """A latency with two digits that mean something."""
    return f"{value:.1f}{_NO_BREAK}ms" if value >= 1 else f"{value:.2f}{_NO_BREAK}ms"


def megabytes(size: int) -> str:
    """Bytes in millions."""
    return f"{size / 1e6:.1f}{_NO_BREAK}MB"


def breakable(name: str) -> Markup:
    """``name`` escaped, with places after its underscores where a narrow column may break it."""
    from markupsafe import Markup, escape

    return escape(name).replace("_", Markup("_<wbr>"))


def render(evaluation: dict[str, Any], evidence: Evidence) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "breakable": breakable,
        "duration": duration,
        "milliseconds": milliseconds,
        "megabytes": megabytes,
    }
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        figures=evaluation["figures"],
        provenance=evaluation["provenance"],
        champion=evaluation["champion"],
        baseline=evaluation["baseline"],
        checks=_checks(evaluation),
        cards=_cards(evaluation),
        pictures=_pictures(evidence),
        intents=sorted(evaluation["intents"], key=lambda entry: (entry["f1"], entry["intent"])),
        robustness=_robustness(evaluation["robustness"]),
        regression=regression.drawn(evaluation["regression"]),
        **_confusions(evidence),
    )


def _checks(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """The gate's checks, with what is needed to draw each as a bar with a mark at its bound."""
    shown: list[dict[str, Any]] = []
    for check in evaluation["checks"]:
        # a calibration error is small: its bar ends at twice the bound, not at 1
        end = 1.0 if check["at_least"] else max(2 * check["bound"], check["value"], 1e-9)
        shown.append(
            check
            | {
                "title": _TITLES[check["figure"]],
                "text": figure_text(check["figure"], check["value"]),
                "bound_text": ("≥ " if check["at_least"] else "≤ ")
                + figure_text(check["figure"], check["bound"]),
                "share": check["value"] / end,
                "bound_share": check["bound"] / end,
            }
        )
    return shown


def _cards(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    """The headline figures, each with its interval and what stands beside it."""
    columns = {"TF-IDF + SVM": evaluation["baseline"]}
    if evaluation["champion"]:
        columns["Champion"] = evaluation["champion"]
    cards: list[dict[str, Any]] = []
    for key in ("accuracy", "macro_f1", "out_of_scope_auroc", "expected_calibration_error"):
        figure = evaluation["figures"][key]
        card: dict[str, Any] = {"title": _TITLES[key], "text": None, "interval": None, "beside": []}
        if figure is not None:
            card |= {
                "text": figure_text(key, figure["value"]),
                "interval": interval_text(key, figure),
            }
            card["beside"] = [
                (name, figure_text(key, column[key]["value"]), interval_text(key, column[key]))
                for name, column in columns.items()
                if column.get(key)
            ]
        if key == "expected_calibration_error":
            before = evaluation["figures"]["expected_calibration_error_unscaled"]
            text = figure_text(key, before["value"]), interval_text(key, before)
            card["beside"] = [("before scaling", *text)]
        cards.append(card)
    return cards


def _pictures(evidence: Evidence) -> dict[str, Any]:
    inside = in_scope(evidence.rows.labels)
    energy, score = evidence.scores.energy, evidence.baseline_score
    right = (evidence.scores.predicted == evidence.rows.labels)[inside]
    roc = None
    if not inside.all():
        baseline = (score[inside], score[~inside])
        roc = charts.roc_chart(energy[inside], energy[~inside], baseline, evidence.threshold)
    return {
        "energy": charts.energy_chart(energy[inside], energy[~inside], evidence.threshold),
        "roc": roc,
        "reliability": charts.reliability_chart(
            evidence.scores.confidence[inside], evidence.scores.unscaled_confidence[inside], right
        ),
    }


def _confusions(evidence: Evidence) -> dict[str, Any]:
    rows, scores, names = evidence.rows, evidence.scores, evidence.intents
    matrix = confusions.matrix(evidence.confusion, names)
    apart = [n for row, cells in enumerate(matrix.cells) for at, n in enumerate(cells) if at != row]
    return {
        "matrix": matrix,
        "most_apart": max([*apart, *matrix.elsewhere, 1]),
        "pairs": confusions.worst_pairs(evidence.confusion, rows, scores, names),
        "accepted": confusions.accepted(rows, scores, names, evidence.threshold),
        "rejected": confusions.rejected(rows, scores, names, evidence.threshold),
    }


def _robustness(section: dict[str, Any]) -> dict[str, Any]:
    """Accuracy under each perturbation, beside the loss against the sample as written."""
    found = section["perturbations"]
    as_written = found["none"]["model"]["value"]
    bars = [
        {
            "title": _PERTURBATIONS[name],
            "model": entry["model"],
            "baseline": entry["baseline"],
            "lost": (as_written - entry["model"]["value"]) * 100,
            "changed": entry["changed"],
            "example": entry.get("example"),
        }
        for name, entry in found.items()
    ]
    return {"rows": section["rows"], "bars": bars}
