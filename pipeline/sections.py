"""The sections of an environment's settings: machines, network, money, people, retraining.

Each is a frozen model that refuses unknown keys and says in its fields what may be set; settings.py
puts them together. Leaves out: names that are derived (settings.py).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

PROCESSING_INSTANCES = (
    "ml.m5.large",
    "ml.m5.xlarge",
    "ml.m5.2xlarge",
    "ml.m5.4xlarge",
    "ml.c5.xlarge",
    "ml.c5.2xlarge",
    "ml.c5.4xlarge",
    "ml.r5.xlarge",
    "ml.r5.2xlarge",
)
TRAINING_INSTANCES = (
    "ml.m5.xlarge",
    "ml.m5.2xlarge",
    "ml.m5.4xlarge",
    "ml.c5.2xlarge",
    "ml.c5.4xlarge",
    "ml.c5.9xlarge",
    "ml.g4dn.xlarge",
    "ml.g5.xlarge",
    "ml.g5.2xlarge",
    "ml.g5.12xlarge",
    "ml.g6.xlarge",
    "ml.g6.2xlarge",
    "ml.p4d.24xlarge",
)


def pattern(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern, strict=True)


def _one_of(choices: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return AfterValidator(check)


def _by_digest(value: str) -> str:
    if value and not re.fullmatch(r"[^@\s]+@sha256:[0-9a-f]{64}", value):
        raise ValueError("must name an image by digest, as in registry/name@sha256:...")
    return value


PermissionSet = Literal["data-scientist", "ml-engineer", "platform-engineer", "auditor"]
PERMISSION_SETS: tuple[PermissionSet, ...] = (
    "data-scientist",
    "ml-engineer",
    "platform-engineer",
    "auditor",
)
S3Uri = Annotated[str, pattern(r"^s3://[a-z0-9.-]{3,63}(/.*)?$")]
Subnet = Annotated[str, pattern(r"^subnet-[0-9a-f]+$")]
ImageByDigest = Annotated[str, AfterValidator(_by_digest)]
EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Processing(Section):
    """The machine of every Processing job."""

    instance_type: Annotated[str, _one_of(PROCESSING_INSTANCES)] = "ml.m5.xlarge"
    volume_gb: int = Field(default=30, ge=1, le=16384)
    max_runtime_seconds: int = Field(default=3600, ge=60, le=432000)


class Training(Section):
    """The machine of the Training job."""

    instance_type: Annotated[str, _one_of(TRAINING_INSTANCES)] = "ml.m5.2xlarge"
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


class Network(Section):
    """Where jobs run. Empty: SageMaker's own network."""

    subnets: list[Subnet] = []
    security_groups: list[Annotated[str, pattern(r"^sg-[0-9a-f]+$")]] = []
    isolated: bool = True
    """No network for the jobs that call no AWS API (prepare, train, package). The base model then
    comes from the image or from ``base_model_uri``, not from a model hub."""

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups must be given together")
        return self


class Budget(Section):
    """What a month may cost, and who is told."""

    monthly_usd: float = Field(default=10.0, gt=0, strict=False)
    recipients: list[Annotated[str, pattern(EMAIL)]] = Field(default=[], max_length=10)
    """Mail addresses; they are also told of failed executions. At least one outside local."""


class Retraining(Section):
    """What starts the pipeline besides people."""

    on_new_data: bool = True
    """Whether a dataset's new manifest.json starts it."""
    schedule: Annotated[str, pattern(r"^$|^(rate|cron)\([^()]+\)$")] = ""
    """``cron(0 3 ? * SUN *)`` or ``rate(7 days)``; empty for none."""
    cool_down_minutes: int = Field(default=10, ge=1, le=1440)
    """From the first manifest to the execution; manifests in between join it."""
    on_drift: bool = True
    """Whether drift that was found starts it on the newest dataset."""
    drift_cool_down_hours: int = Field(default=72, ge=1, le=8760)
    """How long no further drift starts one after an execution that did not fail."""
    automatic_approval: bool = False
    """Whether a model that drift had trained, and that passed the gates, needs no person; only
    where no people depend on it: local and dev."""


class Monitoring(Section):
    """What is watched, when somebody is told, and where it says what to do."""

    runbook: Annotated[str, pattern(r"^[^\s#]+$")] = "docs/runbook.md"
    """Where the runbook is read, such as the address of docs/runbook.md in the repository or on the
    site; an alarm's link is this with #its-section."""
    drift_schedule: Annotated[str, pattern(r"^$|^(rate|cron)\([^()]+\)$")] = "cron(0 4 * * ? *)"
    """When the devices' windows are compared with their references, in UTC; empty for never."""
    stuck_hours: int = Field(default=12, ge=1, le=120)
    """An execution that runs longer is told: jobs may wait 8 hours for spot capacity by default."""
    max_error_percent: float = Field(default=5.0, gt=0, le=100, strict=False)
    """Requests that devices could not answer, of all in an hour."""
    log_days: Literal[0, 7, 14, 30, 60, 90, 180, 365] = 90
    """How long the logs of jobs are kept: SageMaker's two log groups, which the whole account
    shares; 0 leaves them as they are."""


class Promotion(Section):
    """What happens to a version once it is approved: pipeline/cloud/promotion."""

    on_approval: bool = True
    """Whether ``Approved`` in the registry starts it; else ``slm promote`` does."""
    to: str = ""
    """The environment whose devices get the version (its name, or the path of its file); empty
    for this environment's own."""
    accepts: str = ""
    """The environment that promotes to this one, in the same words. Both have to say so."""
    canary_minutes: int = Field(default=60, ge=1, le=1440)
    """How long the canary devices may take for a version."""
    watch_minutes: int = Field(default=180, ge=1, le=10080)
    """How long their telemetry is waited for at most: devices send a window an hour."""
    fleet_minutes: int = Field(default=1440, ge=1, le=10080)
    """How long the fleet is followed; a device that comes later gets the version all the same."""
    min_utterances: int = Field(default=200, ge=0, le=1_000_000)
    """Of the canary, told with the version: fewer are no reason to go on. 0 asks for none."""
    max_error_rate: float = Field(default=0.02, ge=0, le=1, strict=False)
    """Requests that failed by the service's own fault, of all that it accepted."""
    max_latency_ratio: float = Field(default=1.5, ge=1, le=100, strict=False)
    """The 99th percentile of the latency, of that of the version before on the same devices."""
    max_out_of_scope_change: float = Field(default=0.1, ge=0, le=1, strict=False)
    """How far the out-of-scope rate may lie above that of the version before and that of the
    version's own reference, or below both."""


class Assignment(Section):
    """Who gets a permission set."""

    permission_set: PermissionSet
    principal_type: Literal["GROUP", "USER"] = "GROUP"
    principal_id: Annotated[
        str, pattern(r"^([0-9a-f]{10}-)?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")
    ]


class Identity(Section):
    """IAM Identity Center. Without ``instance_arn`` there are no permission sets."""

    instance_arn: Annotated[
        str, pattern(r"^$|^arn:aws[a-z-]*:sso:::instance/(sso)?ins-[a-zA-Z0-9-.]{16}$")
    ] = ""
    account: Annotated[str, pattern(r"^$|^[0-9]{12}$")] = ""
    """Where the instance lives: the organization's management or delegated account."""
    region: Annotated[str, pattern(r"^$|^[a-z]{2}(-[a-z]+)+-[0-9]$")] = ""
    assignments: list[Assignment] = []
    session_hours: dict[PermissionSet, Annotated[int, Field(ge=1, le=12)]] = {}

    def hours(self, permission_set: PermissionSet) -> int:
        """How long a session of the permission set lasts."""
        short: tuple[PermissionSet, ...] = ("platform-engineer", "auditor")
        return self.session_hours.get(permission_set, 4 if permission_set in short else 8)


class Studio(Section):
    """A SageMaker Studio domain. It costs nothing while nobody works in it."""

    enabled: bool = False
    vpc: Annotated[str, pattern(r"^$|^vpc-[0-9a-f]+$")] = ""
    subnets: list[Subnet] = []

    @model_validator(mode="after")
    def _has_a_network(self) -> Self:
        if self.enabled and not (self.vpc and self.subnets):
            raise ValueError("a Studio domain needs vpc and subnets")
        return self


class Edge(Section):
    """The devices."""

    python: Literal["3.11"] = "3.11"
    """The Python that a component's wheels are made for."""
    signing_algorithm: Literal["ECDSA_SHA_256"] = "ECDSA_SHA_256"
    telemetry_days: int = Field(default=90, ge=1, le=3650)
    """How long the devices' windows are kept."""


class Delivery(Section):
    """From a commit to devices by way of dev, staging and prod.

    The environment whose file names a connection or GitHub's repository is the tooling
    environment: the pipeline and its projects lie in its account, beside its images. The other
    environments name it in ``tooling``, which lets it deploy to them.
    """

    connection: Annotated[
        str,
        pattern(
            r"^$|^arn:aws[a-z-]*:(codeconnections|codestar-connections):[a-z0-9-]+:[0-9]{12}:"
            r"connection/[0-9a-f-]{36}$"
        ),
    ] = ""
    """The CodeConnections connection to where the source lies; empty for no pipeline."""
    repository: Annotated[str, pattern(r"^$|^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$")] = ""
    """``owner/name``, as the connection knows it."""
    branch: Annotated[str, pattern(r"^[A-Za-z0-9_./-]{1,255}$")] = "main"
    """A push to it starts the pipeline, unless it changes documents alone."""
    github: Annotated[str, pattern(r"^$|^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")] = ""
    """``owner/name`` of the repository whose workflows may deploy; empty for none."""
    github_provider: Annotated[
        str, pattern(r"^$|^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/[a-z0-9./-]+$")
    ] = ""
    """GitHub's identity provider in IAM, where the account has one already: it can have one."""
    tooling: str = ""
    """The tooling environment that may deploy to this one: a shipped one, or a .toml file."""
    staging: str = "staging"
    prod: str = "prod"
    """Where the tooling environment delivers to: shipped environments, or .toml files."""
    run_minutes: int = Field(default=240, ge=10, le=470)
    """How long an execution may take that the pipeline waits for; CodeBuild allows 8 hours."""
    approval_days: int = Field(default=7, ge=1, le=60)
    """How long the approval between staging and prod waits for somebody."""
    log_days: Literal[7, 14, 30, 60, 90, 180, 365] = 90
    """How long the logs of builds are kept."""

    @model_validator(mode="after")
    def _knows_where_the_source_is(self) -> Self:
        if bool(self.connection) != bool(self.repository):
            raise ValueError("connection and repository must be given together")
        return self

    @property
    def here(self) -> bool:
        """Whether this is the tooling environment."""
        return bool(self.connection or self.github)


class Images(Section):
    """The images of ``-c images=prebuilt``, each by digest."""

    processing: ImageByDigest = ""
    training: ImageByDigest = ""
