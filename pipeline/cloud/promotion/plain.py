"""The settings that promotion reads, as plain JSON: what the function in the account is told.

The function has boto3 and the standard library alone, and so no pydantic to read settings with. It
gets them resolved, in its environment, which holds 4 KB: the names below and no others. A test runs
the function with nothing else at hand, and would miss a name that is not here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pipeline.settings import Settings

NAMES = (
    "account",
    "all_tags",
    "buckets",
    "canary_group",
    "component_name",
    "components_prefix",
    "deployments_bucket",
    "environment",
    "kms_key_arn",
    "model_bucket",
    "model_package_group",
    "name",
    "partition",
    "processed_bucket",
    "promoted_role_arn",
    "promotions_prefix",
    "references_prefix",
    "region",
    "signing_alias",
    "signing_key_arn",
    "telemetry_prefix",
    "thing_group",
)
SECTIONS = {
    "processing": ("max_runtime_seconds",),
    "promotion": (
        "canary_minutes",
        "watch_minutes",
        "fleet_minutes",
        "min_utterances",
        "max_error_rate",
        "max_latency_ratio",
        "max_out_of_scope_change",
    ),
}


def to_plain(settings: Settings) -> dict[str, Any]:
    """What of the settings is read, for ``json.dumps``."""
    names = {name: getattr(settings, name) for name in NAMES}
    sections = {
        section: {name: getattr(getattr(settings, section), name) for name in fields}
        for section, fields in SECTIONS.items()
    }
    return {**names, **sections}


def of_plain(values: dict[str, Any]) -> Settings:
    """The same again, to be read as settings are."""
    sections = {section: SimpleNamespace(**values[section]) for section in SECTIONS}
    return cast("Settings", SimpleNamespace(**{**values, **sections}))
