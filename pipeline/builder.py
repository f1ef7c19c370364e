"""Makes the pipeline's steps with the SageMaker SDK: what every step shares stands here once.

A role, a key on every volume and output, encrypted traffic, tags, cache and retries. The SDK is
untyped, so its objects pass through here as ``Any``; definition.py sees a few typed functions.

Leaves out: which steps there are and in which order (definition.py), and the SDK's session
(sdk.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.names import RoleKind
from pipeline.parameters import Parameter
from pipeline.sdk import offline_session, sdk
from pipeline.settings import Settings

PROCESSING_FOLDER = "/opt/ml/processing"  # where a Processing job's inputs and outputs are mounted
CHECKPOINT_FOLDER = "/opt/ml/checkpoints"

Variable = Any
"""A pipeline variable of the SDK: a parameter, a step's property, or a function of those."""

_NO_TELEMETRY = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


@contextlib.contextmanager
def offline_builder(settings: Settings) -> Generator[Builder]:
    """A builder that reaches no account and needs none."""
    with offline_session(settings) as session:
        yield Builder(settings, session)


@dataclass(frozen=True)
class Job:
    """A step of the pipeline that later steps can refer to."""

    step: Any
    files: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.step.name

    def output(self, name: str) -> Variable:
        """Where a Processing job uploads its output ``name``."""
        return self.step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri

    @property
    def model(self) -> Variable:
        """Where a Training job uploads its ``model.tar.gz``."""
        return self.step.properties.ModelArtifacts.S3ModelArtifacts

    def figure(self, path: str, *, file: str) -> Variable:
        """The value at ``path`` in the step's property file ``file``."""
        return sdk("core.workflow.functions:JsonGet")(
            step_name=self.name, property_file=self.files[file], json_path=path
        )


class Builder:
    """Makes steps with what all steps share: role, key, network, tags, cache and retries."""

    def __init__(self, settings: Settings, session: Any) -> None:
        self._settings = settings
        self._session = session
        self._tags = [{"Key": key, "Value": value} for key, value in settings.all_tags.items()]
        # what a job's log says, which lies beside the logs of other environments; never the
        # execution, whose id would be part of the cache's key
        self._environment = {"SLM_ENVIRONMENT": settings.environment}

    def parameter(self, parameter: Parameter) -> Variable:
        kind = {str: "ParameterString", int: "ParameterInteger", float: "ParameterFloat"}
        options: dict[str, Any] = {"name": parameter.name, "default_value": parameter.default}
        if parameter.choices:
            options["enum_values"] = list(parameter.choices)
        return sdk(f"core.workflow.parameters:{kind[type(parameter.default)]}")(**options)

    def join(self, *values: Variable, on: str = "") -> Variable:
        return sdk("core.workflow.functions:Join")(on=on, values=list(values))

    def place(self, *parts: str) -> Variable:
        """A folder of this execution in the pipeline's bucket."""
        execution = sdk("core.workflow.execution_variables:ExecutionVariables")
        root = f"s3://{self._settings.pipeline_bucket}/executions"
        return self.join(root, execution.PIPELINE_EXECUTION_ID, *parts, on="/")

    def processing(
        self,
        name: str,
        title: str,
        description: str,
        *,
        module: str,
        role: RoleKind,
        instance_type: Variable,
        inputs: Mapping[str, Variable],
        output: str,
        arguments: Mapping[str, Variable],
        environment: Mapping[str, Variable] | None = None,
        property_file: str | None = None,
        calls_aws: bool = False,
        uploads: bool = True,
        cached: bool = True,
    ) -> Job:
        """A Processing step that runs ``python -m module``.

        Args:
            inputs: S3 locations, mounted at ``processing/input/<name>``.
            output: The one folder, ``processing/output/<output>``, that is uploaded.
            arguments: Command-line options and their values.
            property_file: A JSON file in ``output`` that gates read; its name is the file's stem.
            calls_aws: The job calls AWS itself, so it needs the network.
            uploads: It may write objects when it does, so it is told the key.
            cached: The same inputs and arguments give the same result.
        """
        settings = self._settings
        variables = {**self._environment, **(environment or {})}
        if calls_aws:
            variables["SLM_METRIC_NAMESPACE"] = settings.metric_namespace
        if calls_aws and uploads:
            variables["SLM_KMS_KEY"] = settings.kms_key_arn  # for what it uploads by itself
        processor = sdk("core.processing:Processor")(
            role=settings.role_arn(role),
            image_uri=settings.processing_image,
            entrypoint=["python", "-m", module],
            instance_type=instance_type,
            instance_count=1,
            volume_size_in_gb=settings.processing.volume_gb,
            volume_kms_key=settings.kms_key_arn,
            output_kms_key=settings.kms_key_arn,
            max_runtime_in_seconds=settings.processing.max_runtime_seconds,
            env=variables,
            tags=self._tags,
            network_config=sdk("core.network:NetworkConfig")(
                enable_network_isolation=settings.network.isolated and not calls_aws,
                encrypt_inter_container_traffic=True,
                subnets=settings.network.subnets or None,
                security_group_ids=settings.network.security_groups or None,
            ),
            sagemaker_session=self._session,
        )
        job = processor.run(
            inputs=[_input(key, uri) for key, uri in inputs.items()],
            outputs=[_output(output, self.place(name, output))],
            arguments=[part for pair in arguments.items() for part in pair],
        )
        files: dict[str, Any] = {}
        if property_file:
            file = property_file.removesuffix(".json")
            make = sdk("core.workflow.properties:PropertyFile")
            files[file] = make(name=file, output_name=output, path=property_file)
        step = sdk("mlops.workflow.steps:ProcessingStep")(
            name=name,
            display_name=title,
            description=description,
            step_args=job,
            property_files=list(files.values()),
            cache_config=self._cache() if cached else None,
            retry_policies=_retries(),
        )
        return Job(step, files)

    def training(
        self,
        name: str,
        title: str,
        description: str,
        *,
        module: str,
        role: RoleKind,
        instance_type: Variable,
        instance_count: Variable,
        channels: Mapping[str, Variable],
        hyperparameters: Mapping[str, Variable],
        metrics: Mapping[str, str],
    ) -> Job:
        """A Training step that runs ``python -m module``, on spot capacity with checkpoints.

        Args:
            channels: S3 locations, mounted at ``input/data/<name>``.
            metrics: Name and regular expression of each figure in the log that is charted.
        """
        settings, configs = self._settings, "core.training.configs"
        trainer = sdk("train.model_trainer:ModelTrainer")(
            training_image=settings.training_image,
            role=settings.role_arn(role),
            base_job_name=name,
            sagemaker_session=self._session,
            compute=sdk(f"{configs}:Compute")(
                instance_type=instance_type,
                instance_count=instance_count,
                volume_size_in_gb=settings.training.volume_gb,
                volume_kms_key_id=settings.kms_key_arn,
                enable_managed_spot_training=settings.training.spot,
            ),
            networking=sdk(f"{configs}:Networking")(
                enable_network_isolation=settings.network.isolated,
                enable_inter_container_traffic_encryption=True,
                subnets=settings.network.subnets or None,
                security_group_ids=settings.network.security_groups or None,
            ),
            stopping_condition=sdk(f"{configs}:StoppingCondition")(
                max_runtime_in_seconds=settings.training.max_runtime_seconds,
                max_wait_time_in_seconds=(
                    settings.training.max_wait_seconds if settings.training.spot else None
                ),
                max_pending_time_in_seconds=None,
            ),
            output_data_config=sdk(f"{configs}:OutputDataConfig")(
                s3_output_path=self.place(name),
                kms_key_id=settings.kms_key_arn,
                compression_type="GZIP",
            ),
            checkpoint_config=sdk(f"{configs}:CheckpointConfig")(
                s3_uri=self.place(name, "checkpoints"), local_path=CHECKPOINT_FOLDER
            ),
            hyperparameters=dict(hyperparameters),
            environment=self._environment,
            tags=[sdk(f"{configs}:Tag")(key=tag["Key"], value=tag["Value"]) for tag in self._tags],
        )
        definition = sdk(f"{configs}:MetricDefinition")
        trainer.with_metric_definitions(
            [definition(name=key, regex=regex) for key, regex in metrics.items()]
        )
        channel = sdk(f"{configs}:InputData")
        with self._no_telemetry():
            job = trainer.train(
                input_data_config=[
                    channel(channel_name=key, data_source=uri) for key, uri in channels.items()
                ]
            )
        step = _training_step_class()(
            name=name,
            display_name=title,
            description=description,
            step_args=job,
            cache_config=self._cache(),
            retry_policies=_retries(),
        )
        step.container_entrypoint = ["python", "-m", module]
        return Job(step, {})

    def gate(
        self,
        name: str,
        title: str,
        description: str,
        *,
        conditions: Sequence[Any],
        passed: Sequence[Any],
        closed: Any,
    ) -> Any:
        """A Condition step: ``passed`` runs when all conditions hold, else ``closed``."""
        return sdk("mlops.workflow.condition_step:ConditionStep")(
            name=name,
            display_name=title,
            description=description,
            conditions=list(conditions),
            if_steps=[step.step if isinstance(step, Job) else step for step in passed],
            else_steps=[closed],
        )

    def fail(self, name: str, title: str, description: str, *, message: Variable) -> Any:
        """A Fail step: it ends the execution with ``message``."""
        return sdk("mlops.workflow.fail_step:FailStep")(
            name=name, display_name=title, description=description, error_message=message
        )

    def pipeline(
        self, *, parameters: Sequence[Variable], steps: Sequence[Any], name: str | None = None
    ) -> str:
        """The JSON that ``CreatePipeline`` takes; ``name`` is that of the main one if left out."""
        pipeline = sdk("mlops.workflow.pipeline:Pipeline")(
            name=name or self._settings.pipeline_name,
            parameters=list(parameters),
            steps=[step.step if isinstance(step, Job) else step for step in steps],
            pipeline_experiment_config=None,  # superseded by MLflow, also in Studio
            sagemaker_session=self._session,
        )
        return pipeline.definition()

    @contextlib.contextmanager
    def _no_telemetry(self) -> Generator[None]:
        """Opt out around the one call that would report itself to AWS.

        Not for the session as a whole: the SDK validates a session's defaults anew, for about
        0.1 s, each time that it looks one of them up.
        """
        self._session.sagemaker_config = _NO_TELEMETRY
        try:
            yield
        finally:
            self._session.sagemaker_config = {}

    def _cache(self) -> Any:
        expiry = f"P{self._settings.cache_days}D"  # ISO 8601
        return sdk("mlops.workflow.steps:CacheConfig")(enable_caching=True, expire_after=expiry)


def at_least(value: Variable, bound: Variable) -> Any:
    return sdk("core.workflow.conditions:ConditionGreaterThanOrEqualTo")(left=value, right=bound)


def at_most(value: Variable, bound: Variable) -> Any:
    return sdk("core.workflow.conditions:ConditionLessThanOrEqualTo")(left=value, right=bound)


def equals(value: Variable, other: Variable) -> Any:
    return sdk("core.workflow.conditions:ConditionEquals")(left=value, right=other)


def any_of(*conditions: Any) -> Any:
    return sdk("core.workflow.conditions:ConditionOr")(conditions=list(conditions))


def _input(name: str, uri: Variable) -> Any:
    return sdk("core.shapes:ProcessingInput")(
        input_name=name,
        s3_input=sdk("core.shapes:ProcessingS3Input")(
            s3_uri=uri,
            local_path=f"{PROCESSING_FOLDER}/input/{name}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
            s3_compression_type="None",
        ),
    )


def _output(name: str, uri: Variable) -> Any:
    return sdk("core.shapes:ProcessingOutput")(
        output_name=name,
        s3_output=sdk("core.shapes:ProcessingS3Output")(
            s3_uri=uri,
            local_path=f"{PROCESSING_FOLDER}/output/{name}",
            s3_upload_mode="EndOfJob",
        ),
    )


def _retries() -> list[Any]:
    """Faults that pass: those of the service and of a machine soon, a lack of capacity later."""
    retry = "mlops.workflow.retry"
    service = sdk(f"{retry}:StepExceptionTypeEnum")
    job = sdk(f"{retry}:SageMakerJobExceptionTypeEnum")
    of_a_job = sdk(f"{retry}:SageMakerJobStepRetryPolicy")
    return [
        sdk(f"{retry}:StepRetryPolicy")(
            exception_types=[service.SERVICE_FAULT, service.THROTTLING],
            interval_seconds=10,
            backoff_rate=2.0,
            max_attempts=5,
        ),
        of_a_job(
            failure_reason_types=[job.INTERNAL_ERROR],
            interval_seconds=5,
            backoff_rate=2.0,
            max_attempts=2,
        ),
        of_a_job(
            exception_types=[job.RESOURCE_LIMIT],
            failure_reason_types=[job.CAPACITY_ERROR],
            interval_seconds=60,
            backoff_rate=2.0,
            max_attempts=5,
        ),
    ]


def _training_step_class() -> Any:
    base: Any = sdk("mlops.workflow.steps:TrainingStep")

    class TrainingStep(base):
        """A Training step with an entry point.

        ``ModelTrainer`` sets one only for source code that it uploads itself; here the image
        holds the code, as the Processing images do.
        """

        container_entrypoint: list[str]

        @property
        def arguments(self) -> dict[str, Any]:
            request: dict[str, Any] = base.arguments.fget(self)
            request["AlgorithmSpecification"]["ContainerEntrypoint"] = self.container_entrypoint
            return request

    return TrainingStep
