"""Every name that more than one side needs, made from who and where an environment is.

Names, ARNs, buckets and image URIs are properties and plain strings: the definition, the runner and
the infrastructure code all take them from here, so none of them can spell one differently. No CDK
token is among them, because the SageMaker SDK cannot carry one.

Leaves out: what an environment's file sets beside that (settings.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.sections import Images, Section, pattern

PROJECT = "slm-edge"

EnvironmentName = Literal["local", "dev", "staging", "prod"]
BucketPurpose = Literal[
    "slm-intents-raw",
    "slm-intents-processed",
    "slm-model-artifacts",
    "slm-edge-deployments",
    "slm-pipeline-artifacts",
    "slm-access-logs",
]
RoleKind = Literal["pipeline", "processing", "training", "registration", "retraining", "drift"]
ROLE_KINDS: tuple[RoleKind, ...] = (
    "pipeline",
    "processing",
    "training",
    "registration",
    "retraining",
    "drift",
)
ImageName = Literal["processing", "training"]


class Names(Section):
    """Who and where an environment is, and what everything in it is called."""

    environment: EnvironmentName
    account: Annotated[str, pattern(r"^[0-9]{12}$")]
    region: Annotated[str, pattern(r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    kms_key: Annotated[str, pattern(r"^$|^key/[0-9a-z-]+$|^alias/[0-9A-Za-z/_-]+$")] = ""
    """The part of the key's ARN after the account, ``key/<id>`` or ``alias/<name>``; when left
    out, the alias that the foundation stack gives its key."""
    image_tag: Annotated[str, pattern(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")] = "latest"
    image_registry: str | None = None
    """Where images are pulled from; the account's own ECR when left out."""
    images: Images = Images()
    tags: dict[str, str] = Field(default={})

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
    def drift_pipeline_name(self) -> str:
        """The pipeline of one step that reads the devices' windows."""
        return f"{self.name}-drift"

    @property
    def drift_pipeline_arn(self) -> str:
        return self._arn("sagemaker", f"pipeline/{self.drift_pipeline_name}")

    @property
    def model_package_group(self) -> str:
        return f"{self.name}-intents"

    @property
    def model_package_group_arn(self) -> str:
        return self._arn("sagemaker", f"model-package-group/{self.model_package_group}")

    def stack_name(self, part: str) -> str:
        """``slm-edge-dev-foundation``"""
        return f"{self.name}-{part}"

    def role_name(self, kind: RoleKind) -> str:
        """``pipeline`` runs the pipelines, ``processing``, ``training`` and ``registration`` the
        main one's jobs, ``drift`` the drift check; ``retraining`` starts them."""
        return f"{self.name}-{kind}"

    def role_arn(self, kind: RoleKind) -> str:
        return self._iam(f"role/{self.role_name(kind)}")

    @property
    def boundary_name(self) -> str:
        """The permissions boundary of every role."""
        return f"{self.name}-boundary"

    @property
    def boundary_arn(self) -> str:
        return self._iam(f"policy/{self.boundary_name}")

    @property
    def kms_alias(self) -> str:
        return self.kms_key if self.kms_key.startswith("alias/") else f"alias/{self.name}"

    @property
    def kms_key_arn(self) -> str:
        """The key's ARN, or its alias's where only that is known before the key exists."""
        return self._arn("kms", self.kms_key or self.kms_alias)

    @property
    def signing_alias(self) -> str:
        """The asymmetric key that signs what devices install."""
        return f"alias/{self.name}-signing"

    @property
    def signing_key_arn(self) -> str:
        return self._arn("kms", self.signing_alias)

    @property
    def alert_topic_name(self) -> str:
        return f"{self.name}-alerts"

    @property
    def alert_topic_arn(self) -> str:
        return self._arn("sns", self.alert_topic_name)

    @property
    def new_data_rule(self) -> str:
        return f"{self.name}-new-data"

    @property
    def drift_rule(self) -> str:
        """The rule on the event of a drift that was found."""
        return f"{self.name}-drift"

    @property
    def retraining_function(self) -> str:
        return f"{self.name}-retraining"

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.name}-retraining-dead-letters"

    @property
    def schedule_group(self) -> str:
        return self.name

    @property
    def schedules_role(self) -> str:
        """What keeps the retention of SageMaker's log groups."""
        return f"{self.name}-schedules"

    @property
    def watch_function(self) -> str:
        """Looks every hour for executions that run too long."""
        return f"{self.name}-watch"

    @property
    def watch_role(self) -> str:
        return f"{self.watch_function}-function"

    @property
    def dashboard_name(self) -> str:
        return self.name

    @property
    def metric_namespace(self) -> str:
        return f"{PROJECT}/{self.environment}"

    @property
    def datasets_prefix(self) -> str:
        """Where datasets lie in the raw bucket, a folder each."""
        return "datasets"

    # Delivery -----------------------------------------------------------------------------

    @property
    def delivery_pipeline(self) -> str:
        """The pipeline of AWS CodePipeline; its roles, projects and rules begin with its name."""
        return f"{self.name}-delivery"

    @property
    def delivery_role(self) -> str:
        """What the tooling environment may do in this one besides deploying stacks."""
        return f"{self.name}-delivery"

    @property
    def delivery_role_arn(self) -> str:
        return self._iam(f"role/{self.delivery_role}")

    @property
    def delivery_prefix(self) -> str:
        """Where CodePipeline keeps artifacts in the pipeline bucket: the first 20 characters of
        its pipeline's name, which nobody can choose otherwise."""
        return self.delivery_pipeline[:20]

    # Devices ------------------------------------------------------------------------------

    @property
    def thing_type(self) -> str:
        return self.name

    @property
    def thing_group(self) -> str:
        """The group that every device of the environment is in."""
        return self.name

    @property
    def canary_group(self) -> str:
        """The devices that get a version first."""
        return f"{self.name}-canary"

    @property
    def device_policy(self) -> str:
        return f"{self.name}-device"

    @property
    def token_exchange_role(self) -> str:
        """What a device may do in the account with credentials, not with its certificate."""
        return f"{self.name}-device"

    @property
    def token_exchange_role_arn(self) -> str:
        return self._iam(f"role/{self.token_exchange_role}")

    @property
    def role_alias(self) -> str:
        return f"{self.name}-device"

    @property
    def telemetry_rule(self) -> str:
        """IoT allows no hyphens in a rule's name."""
        return f"{self.name}-telemetry".replace("-", "_")

    @property
    def telemetry_prefix(self) -> str:
        """Where the devices' windows lie in the processed bucket."""
        return "telemetry"

    @property
    def components_prefix(self) -> str:
        """Where components lie in the deployments bucket."""
        return "components"

    @property
    def references_prefix(self) -> str:
        """Where what each component version is compared with lies in the deployments bucket."""
        return "references"

    # Promotion ----------------------------------------------------------------------------

    @property
    def promotion_machine(self) -> str:
        """The state machine that takes an approved version to the devices."""
        return f"{self.name}-promotion"

    @property
    def promotion_machine_arn(self) -> str:
        return self._arn("states", f"stateMachine:{self.promotion_machine}")

    @property
    def promotion_function(self) -> str:
        return f"{self.name}-promotion"

    @property
    def promotion_role(self) -> str:
        """What the function acts as: another environment that it promotes to trusts it."""
        return f"{self.name}-promotion"

    @property
    def promotion_role_arn(self) -> str:
        return self._iam(f"role/{self.promotion_role}")

    @property
    def promoted_role(self) -> str:
        """What the environment before this one acts as in here, where one promotes to it."""
        return f"{self.name}-promoted"

    @property
    def promoted_role_arn(self) -> str:
        return self._iam(f"role/{self.promoted_role}")

    @property
    def approval_rule(self) -> str:
        return f"{self.name}-approved"

    @property
    def promotion_dead_letter_queue(self) -> str:
        return f"{self.name}-promotion-dead-letters"

    @property
    def promotions_prefix(self) -> str:
        """Where the records of promotions lie in the deployments bucket."""
        return "promotions"

    def repository(self, image: ImageName) -> str:
        return f"{self.name}/{image}"

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
    def access_log_bucket(self) -> str:
        return self._bucket("slm-access-logs")

    @property
    def buckets(self) -> dict[str, str]:
        """The buckets that hold data, by purpose."""
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
        return f"s3://{self.raw_bucket}/{self.datasets_prefix}/smart_home"

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

    def _iam(self, resource: str) -> str:
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    def _image(self, name: ImageName) -> str:
        if by_digest := getattr(self.images, name):
            return by_digest
        suffix = ".cn" if self.partition == "aws-cn" else ""
        ecr = f"{self.account}.dkr.ecr.{self.region}.amazonaws.com{suffix}"
        repository = f"{PROJECT}/{name}" if self.image_registry else self.repository(name)
        return f"{self.image_registry or ecr}/{repository}:{self.image_tag}"
