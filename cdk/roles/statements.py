"""What each service role may do, and why: the statements by capability, then by role.

Worked out from ``pipeline/definition.py`` (what each job reads and writes) and from the steps that
call AWS themselves (steps/registry, steps/compile/neo.py). Every execution keeps its files under
``executions/<id>/<Step>/``, so a role is given steps and not buckets.

Leaves out: the boundary (boundary.py), statements on every resource (wildcards.py), and what people
may do (cdk/identity).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aws_cdk import aws_iam as iam

from cdk.roles import wildcards
from cdk.roles.names import Names
from pipeline.names import PROJECT, RoleKind
from pipeline.settings import Settings

JOB_ROLES: tuple[RoleKind, ...] = ("processing", "training", "registration", "drift")
READ = ["s3:GetObject"]
SIGN = ["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"]
WRITE = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]


def statements_of(
    kind: RoleKind, settings: Settings, key_arn: str, signing_key_arn: str
) -> list[iam.PolicyStatement]:
    """The whole policy of one service role."""
    return _POLICIES[kind](Names(settings, key_arn, signing_key_arn))


# The roles --------------------------------------------------------------------------------


def _pipeline(names: Names) -> list[iam.PolicyStatement]:
    """Starts and stops jobs, hands each its role, and reads the figures that gates compare."""
    create = ["CreateProcessingJob", "CreateTrainingJob"]
    return [
        allow(
            "RunJobs",
            [
                *(f"sagemaker:{action}" for action in create),
                "sagemaker:DescribeProcessingJob",
                "sagemaker:DescribeTrainingJob",
                "sagemaker:StopProcessingJob",
                "sagemaker:StopTrainingJob",
            ],
            names.jobs,
        ),
        allow(
            "TagJobs",
            ["sagemaker:AddTags"],
            names.jobs,
            {"StringEquals": {"sagemaker:TaggingAction": create}},
        ),
        _pass_roles("PassRolesToJobs", names, JOB_ROLES, to="sagemaker"),
        *_read(
            names, "Figures", "pipeline", _steps("EvaluateModel", "CompileModel", "RegisterModel")
        ),
        use_key(names, ["kms:Decrypt"], through=["s3"]),
    ]


def _processing(names: Names) -> list[iam.PolicyStatement]:
    """*prepare*, *evaluate* and *package*.

    *evaluate* downloads the registry's champion too; *package* has KMS sign its manifest and notes
    with the version where the package is, which is not to approve it.
    """
    return [
        *_job(names),
        *_read(names, "Datasets", "raw", [f"{names.settings.datasets_prefix}/*"]),
        *base_model(names),
        *_read(
            names,
            "Steps",
            "pipeline",
            _steps("PrepareData", "TrainModel", "RegisterModel", "CompileModel"),
        ),
        *_write(
            names, "Steps", "pipeline", _steps("PrepareData", "EvaluateModel", "PackageComponent")
        ),
        # a champion that was trained elsewhere and pushed; the others lie with their execution
        *_read(names, "PushedModels", "models", ["*"]),
        allow("ReadRegistry", _READ_REGISTRY, names.model_packages),
        allow("SignPackages", SIGN, [names.signing_key_arn]),
        allow(
            "NotePackage",
            ["sagemaker:UpdateModelPackage"],
            names.model_packages,
            {"Null": {"sagemaker:ModelApprovalStatus": "true"}},
        ),
    ]


def _training(names: Names) -> list[iam.PolicyStatement]:
    """*train*: the prepared data in, the model and checkpoints out."""
    return [
        *_job(names),
        *base_model(names),
        *_read(names, "Steps", "pipeline", _steps("PrepareData", "TrainModel")),
        *_write(names, "Steps", "pipeline", _steps("TrainModel")),
    ]


def _registration(names: Names) -> list[iam.PolicyStatement]:
    """*register* and *compile*, and Neo, which *compile* may ask under the same role."""
    jobs = names.sagemaker(f"compilation-job/{names.settings.model_package_group}-*")
    return [
        *_job(names),
        *_read(
            names,
            "Steps",
            "pipeline",
            _steps("PrepareData", "TrainModel", "EvaluateModel", "RegisterModel"),
        ),
        *_write(
            names,
            "Steps",
            "pipeline",
            # beside the model goes the evaluation that the registry points to
            [
                *_steps("RegisterModel", "CompileModel"),
                *_steps("TrainModel", below="*/registered/*"),
            ],
        ),
        allow(
            "UseRegistry",
            [
                *_READ_REGISTRY,
                "sagemaker:CreateModelPackage",
                "sagemaker:CreateModelPackageGroup",
                "sagemaker:DescribeModelPackageGroup",
                "sagemaker:UpdateModelPackage",
            ],
            names.model_packages,
        ),
        allow("FindImages", ["ecr:DescribeImages"], names.repositories),
        *_read(names, "Neo", "models", [f"{NEO_PREFIX}/*"]),
        *_write(names, "Neo", "models", [f"{NEO_PREFIX}/*"]),
        allow(
            "AskNeo",
            ["sagemaker:CreateCompilationJob", "sagemaker:DescribeCompilationJob"],
            jobs,
        ),
        _pass_roles("PassRoleToNeo", names, ["registration"], to="sagemaker"),
    ]


def _retraining(names: Names) -> list[iam.PolicyStatement]:
    """Schedules: they start the pipeline, and keep what could not be started."""
    settings = names.settings
    return [
        allow(
            "Start",
            ["sagemaker:StartPipelineExecution"],
            [settings.pipeline_arn, settings.drift_pipeline_arn],
        ),
        allow(
            "KeepWhatFailed", ["sqs:SendMessage"], [names.arn("sqs", settings.dead_letter_queue)]
        ),
        use_key(names, ["kms:Decrypt", "kms:GenerateDataKey"], through=["sqs"]),
    ]


def _drift(names: Names) -> list[iam.PolicyStatement]:
    """The drift check: the devices' windows and the references in, the report and an event out."""
    settings = names.settings
    return [
        *_job(names),
        *_read(names, "Windows", "processed", [f"{settings.telemetry_prefix}/*"]),
        *_read(names, "References", "deployments", [f"{settings.references_prefix}/*"]),
        *_write(names, "Steps", "pipeline", _steps("CheckDrift")),
        allow(
            "TellOfDrift",
            ["events:PutEvents"],
            [names.arn("events", "event-bus/default")],
            {"StringEquals": {"events:source": PROJECT}},
        ),
    ]


_POLICIES: Mapping[RoleKind, Callable[[Names], list[iam.PolicyStatement]]] = {
    "pipeline": _pipeline,
    "processing": _processing,
    "training": _training,
    "registration": _registration,
    "retraining": _retraining,
    "drift": _drift,
}

# The capabilities -------------------------------------------------------------------------

NEO_PREFIX = "neo"
_READ_REGISTRY = ["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"]


def allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Mapping[str, str | list[str]]] | None = None,
) -> iam.PolicyStatement:
    """A statement that allows."""
    return iam.PolicyStatement(
        sid=sid, actions=list(actions), resources=list(resources), conditions=conditions
    )


def _job(names: Names) -> list[iam.PolicyStatement]:
    """What SageMaker does in a job's name: pull the image, log, encrypt, and join the network."""
    settings = names.settings
    return [
        wildcards.statement("LogInToRegistries", settings),
        allow(
            "PullImages",
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            names.repositories,
        ),
        allow(
            "Log",
            [
                "logs:CreateLogGroup",
                "logs:CreateLogStream",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            [names.arn("logs", "log-group:/aws/sagemaker/*")],
        ),
        wildcards.statement("PublishMetrics", settings),
        use_key(names, ["kms:Decrypt", "kms:GenerateDataKey"], through=["s3"]),
        allow("DescribeKey", ["kms:DescribeKey"], [names.key_arn]),
        allow(
            "EncryptVolumes",
            ["kms:CreateGrant"],
            [names.key_arn],
            {"Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
        *network(names),
    ]


def network(names: Names) -> list[iam.PolicyStatement]:
    """Interfaces in the given subnets; nothing where SageMaker's own network is used."""
    where = names.settings.network
    if not where.subnets:
        return []
    subnets = [names.arn("ec2", f"subnet/{subnet}") for subnet in where.subnets]
    groups = [names.arn("ec2", f"security-group/{group}") for group in where.security_groups]
    interfaces = names.arn("ec2", "network-interface/*")
    return [
        allow("MakeInterfaces", ["ec2:CreateNetworkInterface"], [interfaces, *subnets, *groups]),
        allow(
            "UseInterfaces",
            [
                "ec2:CreateNetworkInterfacePermission",
                "ec2:DeleteNetworkInterface",
                "ec2:DeleteNetworkInterfacePermission",
            ],
            [interfaces],
            {"ArnEquals": {"ec2:Subnet": subnets}},
        ),
        wildcards.statement("DescribeNetwork", names.settings),
    ]


def _steps(*steps: str, below: str = "*") -> list[str]:
    """The keys of steps' files in every execution."""
    return [f"executions/*/{step}/{below}" for step in steps]


def _read(names: Names, what: str, purpose: str, keys: Sequence[str]) -> list[iam.PolicyStatement]:
    """Objects, and a listing that shows nothing else of the bucket."""
    bucket = names.bucket(purpose)
    return [
        allow(f"Read{what}", READ, [f"{bucket}/{key}" for key in keys]),
        allow(
            f"List{what}",
            ["s3:ListBucket"],
            [bucket],
            {"StringLike": {"s3:prefix": list(keys)}},
        ),
    ]


def _write(names: Names, what: str, purpose: str, keys: Sequence[str]) -> list[iam.PolicyStatement]:
    bucket = names.bucket(purpose)
    return [allow(f"Write{what}", WRITE, [f"{bucket}/{key}" for key in keys])]


def base_model(names: Names) -> list[iam.PolicyStatement]:
    """A base model in S3, where the settings name one."""
    uri = names.settings.base_model_uri
    if not uri:
        return []
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    arn = f"arn:{names.settings.partition}:s3:::{bucket}"
    keys = [f"{prefix.rstrip('/')}/*" if prefix else "*"]
    return [
        allow("ReadBaseModel", READ, [f"{arn}/{key}" for key in keys]),
        allow(
            "ListBaseModel",
            ["s3:ListBucket"],
            [arn],
            {"StringLike": {"s3:prefix": [prefix.rstrip("/"), *keys]}},
        ),
    ]


def use_key(names: Names, actions: Sequence[str], *, through: Sequence[str]) -> iam.PolicyStatement:
    """The key, used by services on the role's behalf and not by the role itself."""
    services = [f"{service}.{names.settings.region}.amazonaws.com" for service in through]
    return allow("UseKey", actions, [names.key_arn], {"StringEquals": {"kms:ViaService": services}})


def _pass_roles(
    sid: str, names: Names, kinds: Sequence[RoleKind], *, to: str
) -> iam.PolicyStatement:
    return allow(
        sid,
        ["iam:PassRole"],
        [names.settings.role_arn(kind) for kind in kinds],
        {"StringEquals": {"iam:PassedToService": f"{to}.amazonaws.com"}},
    )
