"""The pipeline's parameters: name, type, default, choices and what each is for.

A table without the SageMaker SDK, so that the command line can show it at once and a test can
compare it with ``params.json`` and with the defaults of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.sections import PROCESSING_INSTANCES, TRAINING_INSTANCES
from pipeline.settings import Settings

NEO_TARGETS = (
    "none",
    "ml_m4",
    "ml_m5",
    "ml_m6g",
    "ml_c4",
    "ml_c5",
    "ml_c6g",
    "ml_p3",
    "ml_g4dn",
)


@dataclass(frozen=True)
class Parameter:
    """One pipeline parameter; the type is that of ``default``."""

    name: str
    default: str | int | float
    purpose: str
    choices: tuple[str, ...] = ()


def parameters(settings: Settings) -> tuple[Parameter, ...]:
    """Every pipeline parameter, in the order in which Studio shows them."""
    return (
        Parameter("InputData", settings.default_input_data, "S3 folder with one snapshot of raw/"),
        Parameter("BaseModel", "all-MiniLM-L6-v2", "Encoder or decoder that is fine-tuned"),
        Parameter("FineTuning", "lora", "What is trained", ("lora", "qlora", "full")),
        Parameter("Epochs", 4, "Passes over the data, at most; training may stop earlier"),
        Parameter("LearningRate", 0.0, "Peak rate of the encoder; 0 takes what suits FineTuning"),
        Parameter("BatchSize", 16, "Utterances a step"),
        Parameter("LoraRank", 16, "Rank of the adapter"),
        Parameter("MaxLength", 64, "Tokens an utterance is cut to"),
        Parameter("Seed", 0, "Of the splits, the training and the tests"),
        Parameter("MinAccuracy", 0.80, "Quality gate: accuracy on in-scope test utterances"),
        Parameter("MinOutOfScopeAuroc", 0.80, "Quality gate: telling out-of-scope apart"),
        Parameter("MaxCalibrationError", 0.10, "Quality gate: expected calibration error"),
        Parameter("MinChampionPValue", 0.05, "Quality gate: being worse than the champion"),
        Parameter("MinRegressionPassRate", 0.75, "Quality gate: regression cases passed"),
        Parameter("MaxLostIntents", 0, "Quality gate: intents lost in the regression set"),
        Parameter("MaxAccuracyDrop", 0.02, "Parity gate: accuracy lost by compiling"),
        Parameter("MinAgreement", 0.95, "Parity gate: same answer before and after compiling"),
        Parameter("MaxAurocDrop", 0.01, "Parity gate: out-of-scope AUROC lost by compiling"),
        Parameter("MaxEarlyExitChange", 0.001, "Answers that leaving early may change; 0: none"),
        Parameter(
            "ModelApprovalStatus",
            "PendingManualApproval",
            "Status of the registered model",
            ("PendingManualApproval", "Approved", "Rejected"),
        ),
        Parameter(
            "ProcessingInstanceType",
            settings.processing.instance_type,
            "Machine of every step but training",
            PROCESSING_INSTANCES,
        ),
        Parameter(
            "TrainingInstanceType",
            settings.training.instance_type,
            "Machine of the training; g and p types have GPUs",
            TRAINING_INSTANCES,
        ),
        Parameter("TrainingInstanceCount", 1, "Machines that train together"),
        Parameter("NeoTarget", "none", "Also compile with SageMaker Neo for this", NEO_TARGETS),
    )
