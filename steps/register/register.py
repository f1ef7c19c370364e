"""From a model, its evaluation and its data to one version in the registry.

What is recorded: the figures of the gate, the SHA-256 of data and model, the commit, the
hyperparameters, and the lineage (execution, jobs, S3 addresses). Starting the step again for the
same execution and the same model returns the version that is there.

What it leaves out: judging the model. The pipeline's gate stands in front of this step; here only
what contradicts itself is refused, and an approval of a model that missed a bound.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from steps.contract import StepError, read_json, write_json
from steps.register.config import RegisterConfig, RegisterPaths
from steps.register.model_folder import CheckedModel, check_model
from steps.registry import RegistryEntry, check_status, open_registry

_FIGURES = ("accuracy", "macro_f1", "expected_calibration_error", "champion_p_value")
BY_HAND = "by-hand"
"""The execution of a model that no pipeline made."""


def register(paths: RegisterPaths, config: RegisterConfig) -> dict[str, Any]:
    """Check the model, register it and write ``registration.json``.

    Returns:
        What ``registration.json`` holds: ``model_package``, ``group``, ``version``, ``status``,
        ``registry``, ``model_sha256`` and ``created``.

    Raises:
        StepError: The inputs are missing, damaged or contradict each other, the approval is not
            justified, or the registry refuses.
    """
    check_status(config.approval_status)
    registry = open_registry(config.model_package_group)
    job = _job(paths.job)
    with tempfile.TemporaryDirectory(prefix="register-") as scratch:
        model = check_model(paths.model, Path(scratch), config.pooling)
        evaluation = _evaluation(paths.evaluation, model, config.approval_status)
        statistics = _statistics(paths.prepared, model)
        execution = _execution(config, job)
        entry = RegistryEntry(
            model=model.archive,
            model_sha256=model.sha256,
            execution_id=execution,
            status=config.approval_status,
            description=_description(model, evaluation, execution),
            files=_files(paths.evaluation, model),
            metrics=_metrics(evaluation),
            properties=_properties(model, statistics, execution, config, job),
            model_data_url=config.model_data_url,
            evaluation_url=_input_url(job, "evaluation", "evaluation.json"),
            image=config.image or job.get("AppSpecification", {}).get("ImageUri", ""),
        )
        package = registry.register(entry)
    registration = {
        "model_package": package.name,
        "group": config.model_package_group,
        "version": package.version,
        "status": package.status,
        "registry": registry.kind,
        "model_sha256": model.sha256,
        "created": package.created,
    }
    if paths.output is not None:
        write_json(paths.output / "registration.json", registration)
    return registration


def _evaluation(folder: Path | None, model: CheckedModel, status: str) -> dict[str, Any]:
    """``evaluation.json``, which must be of this model; empty when there is none."""
    if folder is None:
        if status == "Approved":
            raise StepError(
                "Nobody has measured this model, so it cannot be registered as Approved: give "
                "--evaluation FOLDER, or register it as PendingManualApproval."
            )
        return {}
    path = folder / "evaluation.json"
    evaluation = read_json(path, "The evaluation of the model")
    try:
        gate = evaluation["gate"]
        measured = [one["intent"] for one in evaluation["intents"]]
        passed, message = bool(gate["passed"]), str(gate["message"])
    except (KeyError, TypeError) as error:
        raise StepError(
            f"{path} is not an evaluation as evaluate writes it ({error!r}): evaluate again."
        ) from None
    if measured != model.intents:
        apart = sorted(set(measured) ^ set(model.intents)) or ["their order"]
        raise StepError(
            f"{path} is of another model: its intents differ ({', '.join(apart[:3])}); "
            "evaluate this model, then register it."
        )
    if not passed and status != "Rejected":
        raise StepError(
            f"The model missed its gate ({message}), so it cannot be registered as {status}: "
            "train a better one, or keep it with --approval-status Rejected."
        )
    return evaluation


def _statistics(folder: Path | None, model: CheckedModel) -> dict[str, Any]:
    """``statistics.json`` of the prepared data, which must be what the model was trained on."""
    if folder is None:
        return {}
    path = folder / "statistics.json"
    statistics = read_json(path, "The statistics of the prepared data")
    trained, prepared = model.training.get("dataset_sha256"), statistics.get("dataset_sha256")
    if trained != prepared:
        raise StepError(
            f"The model was trained on the data {str(trained)[:12]} but {path} describes "
            f"{str(prepared)[:12]}: give the prepared folder that train read."
        )
    return statistics


def _metrics(evaluation: dict[str, Any]) -> dict[str, float]:
    gate = evaluation.get("gate", {})
    metrics = {name: float(gate[name]) for name in _FIGURES if name in gate}
    if gate.get("out_of_scope_rows"):  # without such rows the figure is a placeholder
        metrics["out_of_scope_auroc"] = float(gate["out_of_scope_auroc"])
    if gate.get("regression_cases"):  # the same
        metrics["regression_pass_rate"] = float(gate["regression_pass_rate"])
    return metrics


def _files(folder: Path | None, model: CheckedModel) -> tuple[Path, ...]:
    wanted = [model.training_file]
    if folder is not None:
        wanted += [folder / "evaluation.json", folder / "report.html"]
    return tuple(path for path in wanted if path.is_file())


def _description(model: CheckedModel, evaluation: dict[str, Any], execution: str) -> str:
    base = model.training.get("base_model", "an unknown base model")
    text = f"{len(model.intents)} intents on {base}, execution {execution}"
    accuracy = evaluation.get("gate", {}).get("accuracy")
    return f"{text}, accuracy {accuracy:.4f}" if accuracy is not None else f"{text}, not measured"


def _properties(
    model: CheckedModel,
    statistics: dict[str, Any],
    execution: str,
    config: RegisterConfig,
    job: dict[str, Any],
) -> dict[str, str]:
    """Provenance and lineage as short text; what is not known is left out.

    The most asked for comes first: SageMaker keeps 50 properties.
    """
    training = model.training
    rows = statistics.get("rows", {})
    found = {
        "dataset_sha256": training.get("dataset_sha256"),
        "commit": _commit(training),
        "execution_id": execution,
        "base_model": training.get("base_model"),
        "parameters": training.get("parameters"),
        "intents": len(model.intents),
        "trained": training.get("trained"),
        "tokenizer_sha256": statistics.get("tokenizer_sha256"),
        **{f"rows.{split}": count for split, count in rows.items()},
        "training_job": _training_job(config.model_data_url),
        "job_name": job.get("ProcessingJobName"),
        "model_data_url": config.model_data_url,
        "evaluation_url": _input_url(job, "evaluation", "evaluation.json"),
        "prepared_url": _input_url(job, "prepared"),
        "versions": " ".join(f"{k}={v}" for k, v in _items(training.get("versions"))),
        **{f"hyperparameter.{k}": v for k, v in _items(training.get("hyperparameters"))},
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _commit(training: dict[str, Any]) -> str:
    """Of the code that trained; of this job's where the training did not know it."""
    commits = (training.get("commit"), os.environ.get("SLM_COMMIT"))
    return next((commit for commit in commits if commit not in (None, "", "unknown")), "")


def _items(values: Any) -> list[tuple[str, Any]]:
    return list(values.items()) if isinstance(values, dict) else []


def _job(path: Path | None) -> dict[str, Any]:
    """What SageMaker tells a Processing job about itself; empty elsewhere."""
    if path is None or not path.is_file():
        return {}
    value = read_json(path, "The configuration of the job")
    return value if isinstance(value, dict) else {}


def _input_url(job: dict[str, Any], name: str, file: str = "") -> str:
    """Where the job's input ``name`` (or a file in it) lies in S3; empty if that is not known."""
    for one in job.get("ProcessingInputs") or []:
        url = (one.get("S3Input") or {}).get("S3Uri", "")
        if one.get("InputName") == name and url:
            return f"{url.rstrip('/')}/{file}" if file else url
    return ""


def _training_job(model_data_url: str) -> str:
    """SageMaker puts a model at ``…/JOB/output/model.tar.gz``."""
    found = re.search(r"/([^/]+)/output/model\.tar\.gz$", model_data_url)
    return found[1] if found else ""


def _execution(config: RegisterConfig, job: dict[str, Any]) -> str:
    """The execution's id: as told, as the runner says, or as SageMaker names its jobs."""
    told = config.execution_id or os.environ.get("SLM_EXECUTION_ID", "")
    name = job.get("ProcessingJobName", "")
    of_pipeline = re.match(r"pipelines-([a-z0-9]+)-", name)
    return told or (of_pipeline[1] if of_pipeline else name) or BY_HAND
