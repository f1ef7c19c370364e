"""What differs between environments, and every name that more than one side needs.

``Settings.load("dev")`` reads ``pipeline/environments/dev.toml``. The result is frozen, and every
name, ARN, bucket and image URI is a property and a plain string: the definition, the runner and
the infrastructure code all take it from here, so none of them can spell it differently. No CDK
token is among them, because the SageMaker SDK cannot carry one.

Leaves out: pipeline parameters (those change from run to run; see definition.py) and secrets
(there are none).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

ENVIRONMENTS = Path(__file__).resolve().parent / "environments"
PROJECT = "slm-edge"
MAX_BUCKET_NAME = 63  # characters; "Bucket naming rules" in the Amazon S3 user guide

EnvironmentName = Literal["local", "dev", "staging", "prod"]
BucketPurpose = Literal[
    "slm-intents-raw",
    "slm-intents-processed",
    "slm-model-artifacts",
    "slm-edge-deployments",
    "slm-pipeline-artifacts",
]


class SettingsError(Exception):
    """A setting that is wrong: one sentence with the key, the value and the rule."""


def _pattern(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern, strict=True)


def _instance_type(value: str) -> str:
    if not value.startswith("ml."):
        raise ValueError("must be a SageMaker instance type such as ml.m5.xlarge")
    return value


InstanceType = Annotated[str, AfterValidator(_instance_type)]
S3Uri = Annotated[str, _pattern(r"^s3://[a-z0-9.-]{3,63}(/.*)?$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Processing(_Section):
    """The machine of every Processing job."""

    instance_type: InstanceType = "ml.m5.xlarge"
    volume_gb: int = Field(default=30, ge=1, le=16384)
    max_runtime_seconds: int = Field(default=3600, ge=60, le=432000)


class Training(_Section):
    """The machine of the Training job."""

    instance_type: InstanceType = "ml.m5.2xlarge"
    volume_gb: int = Field(default=50, ge=1, le=16384)
    max_runtime_seconds: int = Field(default=14400, ge=60, le=432000)
    spot: bool = True
    max_wait_seconds: int = Field(default=28800, ge=60)
    """Spot only: waiting for capacity and running, together."""

    @model_validator(mode="after")
    def _waits_at_least_as_long_as_it_runs(self) -> Self:
        if self.spot and self.max_wait_seconds < self.max_runtime_seconds:
            raise ValueError(
                f"max_wait_seconds {self.max_wait_seconds} must be at least max_runtime_seconds "
                f"{self.max_runtime_seconds}"
            )
        return self


class Network(_Section):
    """Where jobs run. Empty: SageMaker's own network."""

    subnets: list[Annotated[str, _pattern(r"^subnet-[0-9a-f]+$")]] = []
    security_groups: list[Annotated[str, _pattern(r"^sg-[0-9a-f]+$")]] = []
    isolated: bool = True
    """No network for the jobs that call no AWS API (prepare, train, package). The base model then
    comes from the image or from ``base_model_uri``, not from a model hub."""

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups must be given together")
        return self


class Settings(_Section):
    """Everything that differs between environments; the rest is derived from it."""

    environment: EnvironmentName
    account: Annotated[str, _pattern(r"^[0-9]{12}$")]
    region: Annotated[str, _pattern(r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    kms_key: Annotated[str, _pattern(r"^(key/[0-9a-z-]+|alias/[0-9A-Za-z/_-]+)$")]
    """The part of the key's ARN after the account: ``key/<id>`` or ``alias/<name>``."""
    image_tag: Annotated[str, _pattern(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] = "latest"
    image_registry: str | None = None
    """Where images are pulled from; the account's own ECR when left out."""
    base_model_uri: S3Uri | None = None
    """A folder with a Hugging Face model, given to *prepare* and *train*; when left out they use
    the model that their image carries."""
    component_name: Annotated[str, _pattern(r"^[A-Za-z0-9_.-]{1,128}$")] = "slm.edge.IntentModel"
    publisher: str = Field(default=PROJECT, min_length=1)
    cache_days: int = Field(default=30, ge=1, le=365)
    processing: Processing = Processing()
    training: Training = Training()
    network: Network = Network()
    tags: dict[str, str] = {}

    @classmethod
    def load(cls, environment: str) -> Settings:
        """Read a shipped environment.

        Args:
            environment: ``local``, ``dev``, ``staging`` or ``prod``.

        Raises:
            SettingsError: There is no such environment, or its file breaks a rule.
        """
        path = ENVIRONMENTS / f"{environment}.toml"
        known = sorted(file.stem for file in ENVIRONMENTS.glob("*.toml"))
        if environment not in known:
            raise SettingsError(
                f"environment {environment!r} is not one of {', '.join(known)}: "
                f"add {path} or choose one of those."
            )
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read settings from a TOML file.

        Raises:
            SettingsError: The file is missing, is not TOML, or breaks a rule.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"{path} does not exist: write it or name another file.") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"{path} is not valid TOML: {error}.") from None
        return cls.of(values, where=str(path))

    @classmethod
    def of(cls, values: dict[str, Any], *, where: str = "settings") -> Settings:
        """Check ``values`` and make settings of them; ``where`` is named in the error."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(f"{where}: {_sentence(error.errors()[0])}") from None

    @model_validator(mode="after")
    def _has_no_bucket_name_that_is_too_long(self) -> Self:
        for name in self.buckets.values():
            if len(name) > MAX_BUCKET_NAME:
                raise ValueError(f"bucket {name} has {len(name)} characters, more than 63")
        return self

    # Names, one property each -------------------------------------------------------------

    @property
    def partition(self) -> str:
        return "aws-cn" if self.region.startswith("cn-") else "aws"

    @property
    def name(self) -> str:
        """The prefix of what the account holds: ``slm-edge-dev``."""
        return f"{PROJECT}-{self.environment}"

    @property
    def pipeline_name(self) -> str:
        return self.name

    @property
    def pipeline_arn(self) -> str:
        return self._arn("sagemaker", f"pipeline/{self.pipeline_name}")

    @property
    def model_package_group(self) -> str:
        return f"{self.name}-intents"

    @property
    def model_package_group_arn(self) -> str:
        return self._arn("sagemaker", f"model-package-group/{self.model_package_group}")

    @property
    def execution_role_name(self) -> str:
        return f"{self.name}-pipeline"

    @property
    def execution_role_arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role/{self.execution_role_name}"

    @property
    def kms_key_arn(self) -> str:
        return self._arn("kms", self.kms_key)

    @property
    def raw_bucket(self) -> str:
        return self._bucket("slm-intents-raw")

    @property
    def processed_bucket(self) -> str:
        return self._bucket("slm-intents-processed")

    @property
    def model_bucket(self) -> str:
        return self._bucket("slm-model-artifacts")

    @property
    def deployments_bucket(self) -> str:
        return self._bucket("slm-edge-deployments")

    @property
    def pipeline_bucket(self) -> str:
        return self._bucket("slm-pipeline-artifacts")

    @property
    def buckets(self) -> dict[str, str]:
        """Every bucket, by purpose."""
        return {
            "raw": self.raw_bucket,
            "processed": self.processed_bucket,
            "models": self.model_bucket,
            "deployments": self.deployments_bucket,
            "pipeline": self.pipeline_bucket,
        }

    @property
    def default_input_data(self) -> str:
        """What the pipeline parameter ``InputData`` starts as."""
        return f"s3://{self.raw_bucket}/smart_home"

    @property
    def processing_image(self) -> str:
        return self._image("processing")

    @property
    def training_image(self) -> str:
        return self._image("training")

    @property
    def all_tags(self) -> dict[str, str]:
        """The tags of everything that the pipeline makes, in order of their keys."""
        ours = {"project": PROJECT, "environment": self.environment}
        return dict(sorted({**self.tags, **ours}.items()))

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def _bucket(self, purpose: BucketPurpose) -> str:
        return f"{purpose}-{self.environment}-{self.account}-{self.region}"

    def _image(self, name: str) -> str:
        suffix = ".cn" if self.partition == "aws-cn" else ""
        ecr = f"{self.account}.dkr.ecr.{self.region}.amazonaws.com{suffix}"
        return f"{self.image_registry or ecr}/{PROJECT}/{name}:{self.image_tag}"


def _sentence(error: ErrorDetails) -> str:
    """One sentence with the key, the value and the rule."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key} is not a setting: remove it or correct its name."
    if error["type"] == "missing":
        return f"{key} is missing: add it."
    rule = error["msg"].removeprefix("Value error, ")
    rule = rule[:1].lower() + rule[1:]
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return f"{key + ': ' if key else ''}{rule}."
    return f"{key} = {error['input']!r} is not allowed: {rule}."
