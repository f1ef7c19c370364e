"""The check for drift as a SageMaker pipeline of its own, of one Processing step.

A pipeline and not a bare job: a person finds its executions, reports and logs where those of
training are, a schedule starts it as it starts the other, and the runner of this machine runs it,
too. ``build_definition(settings)`` returns what ``CreatePipeline`` takes, built offline; the same
settings give the same bytes.

The windows and references are arguments and no inputs: of all the windows in the bucket the step
reads the newest days only, which no input can say (docs/drift.md). It is never cached, because its
arguments are the same each day.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline import builder
from pipeline.builder import Builder, Job, Variable
from pipeline.parameters import Parameter
from pipeline.sections import PROCESSING_INSTANCES
from pipeline.settings import Settings

STEP, OUTPUT, REPORT = "CheckDrift", "drift", "drift.html"


def parameters(settings: Settings) -> tuple[Parameter, ...]:
    """The parameters, in the order in which Studio shows them."""
    windows = f"s3://{settings.processed_bucket}/{settings.telemetry_prefix}"
    references = f"s3://{settings.deployments_bucket}/{settings.references_prefix}"
    return (
        Parameter("Windows", windows, "Where the devices' windows lie"),
        Parameter("References", references, "Where the references of their versions lie"),
        Parameter("Until", "now", "Time of the check, ISO 8601; now, or an earlier one to repeat"),
        Parameter("PeriodHours", 24, "Windows are added up over this long"),
        Parameter("Periods", 3, "Complete periods that the report shows; the newest is tested"),
        Parameter("MinUtterances", 200, "A period with fewer says nothing"),
        Parameter("MinDevices", 5, "A period with fewer says nothing"),
        Parameter(
            "ProcessingInstanceType",
            settings.processing.instance_type,
            "Machine of the check",
            PROCESSING_INSTANCES,
        ),
    )


def build_definition(settings: Settings) -> dict[str, Any]:
    """The pipeline of ``settings`` as ``CreatePipeline`` takes it."""
    with builder.offline_builder(settings) as build:
        given = {p.name: build.parameter(p) for p in parameters(settings)}
        text = build.pipeline(
            name=settings.drift_pipeline_name,
            parameters=list(given.values()),
            steps=[_check(settings, build, given)],
        )
    definition: dict[str, Any] = json.loads(text)
    return {key: value for key, value in definition.items() if value is not None}


def _check(settings: Settings, build: Builder, given: dict[str, Variable]) -> Job:
    def text(name: str) -> Variable:
        return given[name].to_string()

    return build.processing(
        STEP,
        "Check for drift",
        "Compares what the devices counted with the reference of their version, and tells where "
        "they differ by more than chance.",
        module="steps.drift",
        role="drift",
        instance_type=given["ProcessingInstanceType"],
        inputs={},
        output=OUTPUT,
        property_file="drift.json",
        arguments={
            "--windows": text("Windows"),
            "--references": text("References"),
            "--component": settings.component_name,
            "--until": text("Until"),
            "--period-hours": text("PeriodHours"),
            "--periods": text("Periods"),
            "--min-utterances": text("MinUtterances"),
            "--min-devices": text("MinDevices"),
        },
        environment={
            "SLM_ENVIRONMENT": settings.environment,
            "SLM_PIPELINE": settings.pipeline_name,
            "SLM_MODEL_PACKAGE_GROUP": settings.model_package_group,
            "SLM_METRIC_NAMESPACE": settings.metric_namespace,
            "SLM_REPORT": build.join(build.place(STEP, OUTPUT), REPORT, on="/"),
        },
        calls_aws=True,
        uploads=False,
        cached=False,
    )
