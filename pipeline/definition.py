"""The pipeline, top to bottom, with the SageMaker SDK.

    prepare -> train -> evaluate -> quality gate -> register -> compile -> parity gate -> package

``build_definition(settings)`` returns what ``CreatePipeline`` takes as ``PipelineDefinition``,
built offline: no account, no credentials, nothing uploaded. The same settings give the same bytes
on every run. The steps' code is not imported: a step is a module's name and its arguments.

Leaves out: what the SDK asks for beyond that (builder.py), running the pipeline (``pipeline.local``
for one machine) and deploying it. What is cached, and why registering is, stands in
docs/decisions/0003-what-the-cache-may-reuse.md.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline import builder
from pipeline.builder import Builder, Job, Variable
from pipeline.parameters import parameters
from pipeline.settings import Settings

METRICS = {
    "train:loss": r"train_loss=([0-9.eE+-]+)",
    "train:learning_rate": r"learning_rate=([0-9.eE+-]+)",
    "validation:accuracy": r"validation_accuracy=([0-9.eE+-]+)",
    "validation:loss": r"validation_loss=([0-9.eE+-]+)",
    "validation:out_of_scope_auroc": r"out_of_scope_auroc=([0-9.eE+-]+)",
}
"""What SageMaker charts from the training log; *train* prints ``name=value``."""


def definition_json(settings: Settings) -> str:
    """The definition of ``settings`` as text; the same bytes on every run."""
    return as_text(build_definition(settings))


def as_text(definition: dict[str, Any]) -> str:
    """A definition as indented JSON with sorted keys, in ASCII."""
    return json.dumps(definition, indent=2, sort_keys=True) + "\n"


def build_definition(settings: Settings) -> dict[str, Any]:
    """The pipeline of ``settings`` as ``CreatePipeline`` takes it."""
    with builder.offline_builder(settings) as build:
        given = {p.name: build.parameter(p) for p in parameters(settings)}
        story = _Story(settings, build, given)
        prepare = story.prepare()
        train = story.train(prepare)
        evaluate = story.evaluate(prepare, train)
        register = story.register(prepare, train, evaluate)
        compiled = story.compile(prepare, train, evaluate, register)
        package = story.package(register, compiled)
        parity_gate = story.check_parity(compiled, passed=[package])
        quality_gate = story.check_quality(evaluate, passed=[register, compiled, parity_gate])
        text = build.pipeline(
            parameters=list(given.values()), steps=[prepare, train, evaluate, quality_gate]
        )
    definition: dict[str, Any] = json.loads(text)
    return {key: value for key, value in definition.items() if value is not None}


class _Story:
    """The steps, in the order in which they run."""

    def __init__(self, settings: Settings, build: Builder, given: dict[str, Variable]) -> None:
        self._settings = settings
        self._build = build
        self._given = given
        uri = settings.base_model_uri
        self._base_model: dict[str, Variable] = {"base-model": uri} if uri else {}

    def _text(self, parameter: str) -> Variable:
        """A parameter where the API takes a string."""
        return self._given[parameter].to_string()

    def prepare(self) -> Job:
        return self._build.processing(
            "PrepareData",
            "Prepare the data",
            "Checks, cleans, splits and tokenizes the utterances; every refused row is kept with "
            "its reason.",
            module="steps.prepare",
            role="processing",
            instance_type=self._given["ProcessingInstanceType"],
            inputs={"raw": self._given["InputData"], **self._base_model},
            output="prepared",
            arguments={
                "--base-model": self._text("BaseModel"),
                "--max-length": self._text("MaxLength"),
                "--seed": self._text("Seed"),
            },
        )

    def train(self, prepare: Job) -> Job:
        return self._build.training(
            "TrainModel",
            "Train the model",
            "Fine-tunes the base model on the training split, on spot capacity; an interrupted "
            "job goes on from its last checkpoint.",
            module="steps.train",
            role="training",
            instance_type=self._given["TrainingInstanceType"],
            instance_count=self._given["TrainingInstanceCount"],
            channels={"prepared": prepare.output("prepared"), **self._base_model},
            hyperparameters={
                "base_model": self._text("BaseModel"),
                "fine_tuning": self._text("FineTuning"),
                "epochs": self._text("Epochs"),
                "learning_rate": self._text("LearningRate"),
                "batch_size": self._text("BatchSize"),
                "lora_rank": self._text("LoraRank"),
                "max_length": self._text("MaxLength"),
                "seed": self._text("Seed"),
            },
            metrics=METRICS,
        )

    def evaluate(self, prepare: Job, train: Job) -> Job:
        return self._build.processing(
            "EvaluateModel",
            "Evaluate the model",
            "Measures the model on the test split and the regression set beside a TF-IDF baseline "
            "and the champion, and writes the report.",
            module="steps.evaluate",
            role="processing",
            instance_type=self._given["ProcessingInstanceType"],
            inputs={"model": train.model, "prepared": prepare.output("prepared")},
            output="evaluation",
            property_file="evaluation.json",
            arguments={
                "--model-package-group": self._settings.model_package_group,
                "--min-accuracy": self._text("MinAccuracy"),
                "--min-out-of-scope-auroc": self._text("MinOutOfScopeAuroc"),
                "--max-calibration-error": self._text("MaxCalibrationError"),
                "--min-champion-p-value": self._text("MinChampionPValue"),
                "--min-regression-pass-rate": self._text("MinRegressionPassRate"),
                "--max-lost-intents": self._text("MaxLostIntents"),
                "--seed": self._text("Seed"),
            },
            calls_aws=True,
        )

    def check_quality(self, evaluate: Job, *, passed: list[Any]) -> Any:
        def figure(name: str) -> Variable:
            return evaluate.figure(f"gate.{name}", file="evaluation")

        return self._build.gate(
            "CheckQuality",
            "Quality gate",
            "Opens when the model is good enough and not significantly worse than the champion.",
            conditions=[
                builder.at_least(figure("accuracy"), self._given["MinAccuracy"]),
                builder.any_of(
                    builder.equals(figure("out_of_scope_rows"), 0),  # not measured
                    builder.at_least(
                        figure("out_of_scope_auroc"), self._given["MinOutOfScopeAuroc"]
                    ),
                ),
                builder.at_most(
                    figure("expected_calibration_error"), self._given["MaxCalibrationError"]
                ),
                builder.at_least(figure("champion_p_value"), self._given["MinChampionPValue"]),
                builder.any_of(
                    builder.equals(figure("regression_cases"), 0),  # the data has no such set
                    builder.at_least(
                        figure("regression_pass_rate"), self._given["MinRegressionPassRate"]
                    ),
                ),
                builder.at_most(figure("lost_intents"), self._given["MaxLostIntents"]),
            ],
            passed=passed,
            closed=self._build.fail(
                "QualityGateClosed",
                "Quality gate closed",
                "Ends the execution; nothing is registered.",
                message=self._build.join(
                    "The quality gate is closed: ",
                    figure("message"),
                    ". Accuracy ",
                    figure("accuracy"),
                    " (MinAccuracy ",
                    self._given["MinAccuracy"],
                    "), out-of-scope AUROC ",
                    figure("out_of_scope_auroc"),
                    " (MinOutOfScopeAuroc ",
                    self._given["MinOutOfScopeAuroc"],
                    "), calibration error ",
                    figure("expected_calibration_error"),
                    " (MaxCalibrationError ",
                    self._given["MaxCalibrationError"],
                    "), p-value against the champion ",
                    figure("champion_p_value"),
                    " (MinChampionPValue ",
                    self._given["MinChampionPValue"],
                    "), regression set ",
                    figure("regression_pass_rate"),
                    " (MinRegressionPassRate ",
                    self._given["MinRegressionPassRate"],
                    "), intents lost in it ",
                    figure("lost_intents"),
                    " (MaxLostIntents ",
                    self._given["MaxLostIntents"],
                    ").",
                ),
            ),
        )

    def register(self, prepare: Job, train: Job, evaluate: Job) -> Job:
        return self._build.processing(
            "RegisterModel",
            "Register the model",
            "Adds the model to the registry with its figures, data, parameters and lineage.",
            module="steps.register",
            role="registration",
            instance_type=self._given["ProcessingInstanceType"],
            inputs={
                "model": train.model,
                "evaluation": evaluate.output("evaluation"),
                "prepared": prepare.output("prepared"),
            },
            output="registration",
            property_file="registration.json",
            arguments={
                "--model-package-group": self._settings.model_package_group,
                "--approval-status": self._text("ModelApprovalStatus"),
                "--model-data-url": train.model,
            },
            environment={"SLM_PARITY_BOUNDS": self._parity_bounds()},
            calls_aws=True,
        )

    def _parity_bounds(self) -> Variable:
        """Part of the key under which a registration is reused.

        A package that missed the parity gate is rejected for good. Under other bounds, or
        compiled otherwise, the model is therefore registered anew instead of going on with the
        rejected package.
        """
        names = ("MaxAccuracyDrop", "MinAgreement", "MaxAurocDrop", "MaxEarlyExitChange")
        return self._build.join(*(self._given[name] for name in names), on=" ")

    def compile(self, prepare: Job, train: Job, evaluate: Job, register: Job) -> Job:
        return self._build.processing(
            "CompileModel",
            "Compile the model",
            "Exports to ONNX, quantizes to int8 and scores the result with the code that the "
            "device runs.",
            module="steps.compile",
            role="registration",
            instance_type=self._given["ProcessingInstanceType"],
            inputs={
                "model": train.model,
                "prepared": prepare.output("prepared"),
                "evaluation": evaluate.output("evaluation"),
                "registration": register.output("registration"),
            },
            output="compiled",
            property_file="compilation.json",
            arguments={
                "--max-accuracy-drop": self._text("MaxAccuracyDrop"),
                "--min-agreement": self._text("MinAgreement"),
                "--max-auroc-drop": self._text("MaxAurocDrop"),
                "--max-early-exit-change": self._text("MaxEarlyExitChange"),
                "--neo-target": self._text("NeoTarget"),
            },
            environment={
                "SLM_NEO_ROLE": self._settings.role_arn("registration"),
                "SLM_NEO_OUTPUT": f"s3://{self._settings.model_bucket}/neo",
            },
            calls_aws=True,
        )

    def check_parity(self, compiled: Job, *, passed: list[Any]) -> Any:
        def figure(name: str) -> Variable:
            return compiled.figure(f"parity.{name}", file="compilation")

        return self._build.gate(
            "CheckParity",
            "Parity gate",
            "Opens when the compiled model answers as the trained one does.",
            conditions=[
                builder.at_most(figure("accuracy_drop"), self._given["MaxAccuracyDrop"]),
                builder.at_least(figure("agreement"), self._given["MinAgreement"]),
                builder.at_most(figure("auroc_drop"), self._given["MaxAurocDrop"]),
            ],
            passed=passed,
            closed=self._build.fail(
                "ParityGateClosed",
                "Parity gate closed",
                "Ends the execution; the registered model is rejected with the reason.",
                message=self._build.join(
                    "The parity gate is closed: ",
                    figure("message"),
                    ". Accuracy drop ",
                    figure("accuracy_drop"),
                    " (MaxAccuracyDrop ",
                    self._given["MaxAccuracyDrop"],
                    "), agreement ",
                    figure("agreement"),
                    " (MinAgreement ",
                    self._given["MinAgreement"],
                    "), AUROC drop ",
                    figure("auroc_drop"),
                    " (MaxAurocDrop ",
                    self._given["MaxAurocDrop"],
                    ").",
                ),
            ),
        )

    def package(self, register: Job, compiled: Job) -> Job:
        return self._build.processing(
            "PackageComponent",
            "Package the component",
            "Packs the compiled model and its runtime into one signed Greengrass component.",
            module="steps.package",
            role="processing",
            instance_type=self._given["ProcessingInstanceType"],
            inputs={
                "compiled": compiled.output("compiled"),
                "registration": register.output("registration"),
            },
            output="package",
            arguments={
                "--component-name": self._settings.component_name,
                "--publisher": self._settings.publisher,
                "--artifact-prefix": (
                    f"s3://{self._settings.deployments_bucket}/{self._settings.components_prefix}"
                ),
            },
            environment={"SLM_SIGNING_KEY": self._settings.signing_key_arn},
            calls_aws=True,  # the key signs in KMS and never leaves it
            uploads=False,
        )
