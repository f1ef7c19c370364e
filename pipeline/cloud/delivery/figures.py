"""What the approval shows: the evaluation's figures, beside those of the champion.

One line of at most 900 characters, because that is what the approval of CodePipeline has room for
(1,000) and what fits into a mail. The whole report is a link away.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.cloud.approving import Version

LENGTH = 900
_FIGURES = (
    # name, title, form, form of a difference
    ("accuracy", "accuracy", "{:.1%}", "{:+.1f} points", 100.0),
    ("macro_f1", "macro F1", "{:.1%}", "{:+.1f} points", 100.0),
    ("out_of_scope_auroc", "out-of-scope AUROC", "{:.3f}", "{:+.3f}", 1.0),
    ("expected_calibration_error", "calibration error", "{:.3f}", "{:+.3f}", 1.0),
    ("champion_p_value", "p-value against the champion", "{:.3f}", "", 1.0),
)


def line(version: Version, champion: Version | None, *, commit: str, sha256: str) -> str:
    """Version, figures, differences, and what exactly is approved."""
    beside = champion if champion is not None and champion.arn != version.arn else None
    who = f"version {beside.number}, approved now" if beside else "none, this would be the first"
    parts = [
        f"Version {version.number} of {version.group}",
        f"champion: {who}",
        *_figures(version, beside),
        f"commit {commit[:12]}",
        f"package {sha256[:16]}",
    ]
    return "; ".join(parts)[:LENGTH]


def _figures(version: Version, beside: Version | None) -> Iterator[str]:
    measured = False
    for name, title, form, difference, factor in _FIGURES:
        if name not in version.metrics:
            continue
        measured = True
        text = f"{title} {form.format(version.metrics[name])}"
        if beside and difference and name in beside.metrics:
            apart = (version.metrics[name] - beside.metrics[name]) * factor
            before = form.format(beside.metrics[name])
            text += f" (champion {before}, {difference.format(apart)})"
        yield text
    if not measured:
        yield "nobody has measured it"
