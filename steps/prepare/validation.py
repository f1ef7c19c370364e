"""Great Expectations judges the cleaned data: three suites, their result, their data docs.

- ``rows``: a seeded, uniform sample of the cleaned rows;
- ``intents``: one row an intent, with exact figures of all the data;
- ``dataset``: one row, with exact figures of all the data.

A critical expectation that fails ends the job; a warning is recorded. Great Expectations works in
a folder of its own, with analytics off; its data docs take their styles from public CDNs, which
is its own choice: without a network they read well enough. It leaves out anything that needs
every row in memory.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.cleaning import INVISIBLE
from steps.contract import OUT_OF_SCOPE, write_json
from steps.prepare.config import PrepareConfig

SAMPLE_ROWS = 20_000
CRITICAL, WARNING = "critical", "warning"
_COUNTED_LOGO = re.compile(r"https://great-expectations-web-assets[^\"']*")
_MOST_REFUSED = 0.5
"""Of all rows, repeats not counted: beyond this the data is something else than it says."""


@dataclass(frozen=True)
class DataProfile:
    """What the suites look at."""

    sample: Sequence[tuple[str, str]]
    """Text and intent of a sample of the cleaned rows."""
    examples: dict[str, int]
    """Of each intent, the rows to learn from."""
    rows: dict[str, int]
    """Of each intent, all rows."""
    rows_in: int
    reasons: dict[str, int]
    """Quarantined rows by reason."""
    refused: int
    """Quarantined rows, repeats not counted."""
    conflicting: int


@dataclass(frozen=True)
class Failure:
    """An expectation that did not hold, in words."""

    suite: str
    expectation: str
    column: str
    severity: str
    figure: str

    def __str__(self) -> str:
        return f"{self.expectation} on {self.column!r} of the suite {self.suite!r}: {self.figure}"


def validate(
    profile: DataProfile, config: PrepareConfig, workspace: Path, out: Path
) -> list[Failure]:
    """Run the suites; write ``validation.json`` and ``data_docs/`` to ``out``.

    Returns:
        What did not hold, critical expectations first.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when it is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations among its own dependencies
        import great_expectations as gx

        context = _context(workspace)
        source = context.data_sources.add_pandas("prepared")
        rules, results = _rules(config), {}
        for name, frame in _frames(profile).items():
            asset = source.add_dataframe_asset(name)
            batch = asset.add_batch_definition_whole_dataframe("all")
            suite = context.suites.add(
                gx.ExpectationSuite(name=name, expectations=[_expectation(r) for r in rules[name]])
            )
            definition = context.validation_definitions.add(
                gx.ValidationDefinition(name=name, data=batch, suite=suite)
            )
            result = definition.run(
                batch_parameters={"dataframe": frame},
                run_id=gx.RunIdentifier(run_name="prepare"),
                result_format={
                    "result_format": "COMPLETE" if name != "rows" else "SUMMARY",
                    "partial_unexpected_count": 5,
                    **({"unexpected_index_column_names": ["intent"]} if name == "intents" else {}),
                },
            )
            results[name] = result.to_json_dict()
        context.build_data_docs()
    _keep_docs(workspace, out)
    records = [_record(name, r) for name, result in results.items() for r in result["results"]]
    failed = [record for record in records if not record["success"]]
    failures = sorted((_failure(record) for record in failed), key=lambda f: f.severity)
    write_json(
        out / "validation.json",
        {
            "success": not any(f.severity == CRITICAL for f in failures),
            "great_expectations": gx.__version__,
            "sample_rows": len(profile.sample),
            "rows_in": profile.rows_in,
            "quarantined": dict(sorted(profile.reasons.items())),
            "failures": [{"severity": f.severity, "message": str(f)} for f in failures],
            "expectations": records,
        },
    )
    return failures


def _context(workspace: Path) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    workspace.mkdir(parents=True)
    context = gx.get_context(mode="file", project_root_dir=workspace)
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    sites: Any = context.variables.data_docs_sites
    sites["local_site"]["show_how_to_buttons"] = False
    context.variables.save()
    return context


def _keep_docs(workspace: Path, out: Path) -> None:
    docs = out / "data_docs"
    shutil.rmtree(docs, ignore_errors=True)
    shutil.move(workspace / "gx" / "uncommitted" / "data_docs" / "local_site", docs)
    images = docs / "static" / "images"
    for tutorial in images.glob("*.gif"):
        tutorial.unlink()  # 3.4 MB of how-to films that no page shows
    for page in docs.rglob("*.html"):
        # each page asks for its logo with an id of this context: take the copy beside it instead
        logo = Path(os.path.relpath(images / "logo-long.png", page.parent)).as_posix()
        page.write_text(_COUNTED_LOGO.sub(logo, page.read_text("utf-8")), "utf-8")


def _frames(profile: DataProfile) -> dict[str, Any]:
    import pandas as pd

    intents = [name for name in sorted(profile.examples) if name != OUT_OF_SCOPE]
    kept = sum(profile.rows.values())
    whole = max(profile.rows_in, 1)
    return {
        "rows": pd.DataFrame(list(profile.sample), columns=["text", "intent"]),
        "intents": pd.DataFrame(
            {
                "intent": intents,
                "examples": [profile.examples[name] for name in intents],
                "share": [profile.rows[name] / max(kept, 1) for name in intents],
            }
        ),
        "dataset": pd.DataFrame(
            {
                "intents": [len(intents)],
                "rows": [kept],
                "refused_share": [profile.refused / whole],
                "conflict_share": [profile.conflicting / whole],
                "repeat_share": [(sum(profile.reasons.values()) - profile.refused) / whole],
                "out_of_scope_rows": [profile.rows.get(OUT_OF_SCOPE, 0)],
            }
        ),
    }


_Rule = tuple[str, str, str, dict[str, Any]]  # expectation, column, severity, bounds


def _rules(config: PrepareConfig) -> dict[str, list[_Rule]]:
    """What is asked of each suite's table."""
    null, unique = "ExpectColumnValuesToNotBeNull", "ExpectColumnValuesToBeUnique"
    between, lengths = "ExpectColumnValuesToBeBetween", "ExpectColumnValueLengthsToBeBetween"
    match, no_match = "ExpectColumnValuesToMatchRegex", "ExpectColumnValuesToNotMatchRegex"
    untidy = rf"^\s|\s$|\s\s|[{INVISIBLE}]"
    most = {"mostly": 0.99}
    return {
        "rows": [
            (null, "text", CRITICAL, {}),
            (null, "intent", CRITICAL, {}),
            (lengths, "text", CRITICAL, {"min_value": 1, "max_value": config.max_characters}),
            (no_match, "text", CRITICAL, {"regex": untidy}),
            (unique, "text", CRITICAL, {}),
            (match, "text", WARNING, {"regex": r"\w", **most}),
            (match, "text", WARNING, {"regex": r"^\S+( \S+){0,59}$", **most}),  # 60 words
            (match, "intent", WARNING, {"regex": r"^[\w .:/&?'()-]{1,100}$"}),
        ],
        "intents": [
            (unique, "intent", CRITICAL, {}),
            (between, "examples", CRITICAL, {"min_value": config.min_examples}),
            (between, "examples", WARNING, {"min_value": 20}),
            (between, "share", WARNING, {"max_value": 0.5}),
        ],
        "dataset": [
            (between, "intents", CRITICAL, {"min_value": 2}),
            (between, "rows", CRITICAL, {"min_value": 1}),
            (between, "conflict_share", CRITICAL, {"max_value": config.max_conflict_share}),
            (between, "refused_share", CRITICAL, {"max_value": _MOST_REFUSED}),
            (between, "refused_share", WARNING, {"max_value": 0.05}),
            (between, "repeat_share", WARNING, {"max_value": 0.3}),
            (between, "out_of_scope_rows", WARNING, {"min_value": 50}),
        ],
    }


def _expectation(rule: _Rule) -> Any:
    import great_expectations.expectations as gxe

    kind, column, severity, bounds = rule
    return getattr(gxe, kind)(column=column, severity=severity, **bounds)


def _record(suite: str, result: dict[str, Any]) -> dict[str, Any]:
    """One expectation's result without ids and times: the same data gives the same record."""
    config, found = result["expectation_config"], result["result"]
    rule = {k: v for k, v in config["kwargs"].items() if k not in ("batch_id", "column")}
    keys = ("element_count", "unexpected_count", "unexpected_percent", "observed_value")
    record = {
        "suite": suite,
        "expectation": config["type"],
        "column": config["kwargs"]["column"],
        "rule": rule,
        "severity": config["severity"],
        "success": result["success"],
        "result": {key: found[key] for key in keys if key in found},
        "examples": found.get("partial_unexpected_list", []),
    }
    if "unexpected_index_list" in found and suite == "intents":
        record["intents"] = [place["intent"] for place in found["unexpected_index_list"] or []][:20]
    if result["exception_info"].get("exception_message"):
        record["result"]["error"] = result["exception_info"]["exception_message"]
    return record


def _failure(record: dict[str, Any]) -> Failure:
    found = record["result"]
    rule = ", ".join(f"{key} {value}" for key, value in record["rule"].items())
    shown = ", ".join(str(value)[:60] for value in record["examples"][:3])
    if record.get("intents"):
        shown += f" (intents {', '.join(record['intents'][:3])})"
    count = found.get("unexpected_count", "?")
    figure = f"{count} of {found.get('element_count', '?')} values fail ({rule}): {shown}"
    if record["suite"] == "dataset":
        figure = f"{shown} where {rule} is asked"
    return Failure(
        record["suite"], record["expectation"], record["column"], record["severity"], figure
    )
