"""From Approved in the registry to the devices: rule, state machine, function, and who is told.

    Approved -> rule -> state machine -> function, again and again -> done
                 |           |
            dead letters     refused, rolled back or failed -> alert topic

Leaves out: the function's code (pipeline/cloud/promotion), the machine's definition (machine.py),
and what the function may do (permissions.py).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import cast

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk.monitoring.alerts import dead_letters_alarm
from cdk.promotion import machine, permissions
from cdk.promotion.code import HANDLER, write_code
from cdk.roles import principals, wildcards
from cdk.roles.names import Names
from cdk.roles.statements import allow, use_key
from pipeline.cloud.promotion.plain import to_plain
from pipeline.monitoring import TOLD
from pipeline.settings import Settings

STOPPED, UNDELIVERED = "promotion-stopped", "promotion-dead-letters"
"""Sections of the runbook."""
RETRIES = 3
MAX_AGE = Duration.hours(1)  # of an event that cannot be delivered
LOG_RETENTION = logs.RetentionDays.THREE_MONTHS
SCRATCH_MB = 2048  # a package and, for another environment, the model
TIMEOUT = Duration.minutes(15)


class Promotion(Construct):
    """What Approved starts."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        names: Names,
        target: Settings,
        key: kms.IKey,
        alerts: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        self._names = names
        self._settings = names.settings
        self._target = target
        self._key = key
        function = self._function()
        state_machine = self._machine(function)
        self._tell(alerts)
        if self._settings.promotion.on_approval:
            self._rule(state_machine, self._dead_letters(alerts))

    def _function(self) -> lambda_.Function:
        settings = self._settings
        log_group = self._log_group("Logs", f"/aws/lambda/{settings.promotion_function}")
        environment = {"SOURCE": json.dumps(to_plain(settings), separators=(",", ":"))}
        if self._elsewhere:
            environment["TARGET"] = json.dumps(to_plain(self._target), separators=(",", ":"))
        with tempfile.TemporaryDirectory() as folder:
            function = lambda_.Function(
                self,
                "Function",
                function_name=settings.promotion_function,
                description="Takes an approved version one step further to the devices",
                runtime=lambda_.Runtime.PYTHON_3_14,
                architecture=lambda_.Architecture.ARM_64,
                handler=HANDLER,
                code=lambda_.Code.from_asset(str(write_code(Path(folder)))),
                role=self._by_name("FunctionByName", settings.promotion_role),
                log_group=log_group,
                memory_size=512,
                ephemeral_storage_size=Size.mebibytes(SCRATCH_MB),
                timeout=TIMEOUT,
                environment_encryption=self._key,
                environment=environment,
            )
        # The role goes in by its name: by reference, CDK would also name it as a dependency, which
        # cfn-lint calls redundant.
        function.node.add_dependency(self._function_role(log_group))
        return function

    @property
    def _elsewhere(self) -> bool:
        return self._target.environment != self._settings.environment

    def _function_role(self, log_group: logs.LogGroup) -> iam.Role:
        names = self._names
        statements = permissions.of_source(names)
        if self._elsewhere:
            there = self._target.promoted_role_arn
            statements.append(use_key(names, ["kms:Decrypt"], through=["s3"]))
            statements.append(allow("ActInTarget", ["sts:AssumeRole"], [there]))
        else:
            statements += permissions.of_target(names, elsewhere=False)
        statements += [
            allow("UseOwnKey", ["kms:Decrypt"], [names.key_arn]),
            allow(
                "WriteLog",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [log_group.log_group_arn],
            ),
        ]
        return iam.Role(
            self,
            "FunctionRole",
            role_name=self._settings.promotion_role,
            description="Verifies, copies and deploys an approved version",
            assumed_by=principals.service("lambda"),
            inline_policies={"promotion": iam.PolicyDocument(statements=statements)},
        )

    def _machine(self, function: lambda_.Function) -> sfn.StateMachine:
        settings = self._settings
        arn = self._names.arn("lambda", f"function:{settings.promotion_function}")
        log_group = self._log_group(
            "MachineLogs", f"/aws/vendedlogs/states/{settings.promotion_machine}"
        )
        made = sfn.StateMachine(
            self,
            "Machine",
            state_machine_name=settings.promotion_machine,
            comment="Takes an approved version to the devices",
            definition_body=sfn.DefinitionBody.from_string(
                json.dumps(machine.definition(settings, arn), indent=2)
            ),
            role=self._by_name("MachineByName", f"{settings.promotion_machine}-machine"),
            logs=sfn.LogOptions(
                destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False
            ),
            tracing_enabled=True,
        )
        role = iam.Role(
            self,
            "MachineRole",
            role_name=f"{settings.promotion_machine}-machine",
            description="Calls the function that promotes",
            assumed_by=principals.service(
                "states",
                {
                    "StringEquals": {"aws:SourceAccount": settings.account},
                    "ArnLike": {"aws:SourceArn": settings.promotion_machine_arn},
                },
            ),
            inline_policies={
                "machine": iam.PolicyDocument(
                    statements=[
                        allow("CallFunction", ["lambda:InvokeFunction"], [arn]),
                        wildcards.statement("DeliverLogs", settings),
                        wildcards.statement("Trace", settings),
                    ]
                )
            },
        )
        made.node.add_dependency(role, function)
        return made

    def _rule(self, state_machine: sfn.StateMachine, queue: sqs.Queue) -> None:
        """Only Approved, only this group, and not when something else of the version changed."""
        settings = self._settings
        starter = iam.Role(
            self,
            "StarterRole",
            role_name=settings.approval_rule,
            description="Starts a promotion",
            assumed_by=principals.service("events"),
            inline_policies={
                "start": iam.PolicyDocument(
                    statements=[
                        allow(
                            "StartPromotion",
                            ["states:StartExecution"],
                            [settings.promotion_machine_arn],
                        )
                    ]
                )
            },
        )
        target = targets.SfnStateMachine(
            cast("sfn.IStateMachine", state_machine),
            input=events.RuleTargetInput.from_object(
                {"arn": events.EventField.from_path("$.detail.ModelPackageArn")}
            ),
            role=starter.without_policy_updates(),
            dead_letter_queue=queue,
            retry_attempts=RETRIES,
            max_event_age=MAX_AGE,
        )
        events.Rule(
            self,
            "Approved",
            rule_name=settings.approval_rule,
            description="A version was approved",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"],
                detail_type=["SageMaker Model Package State Change"],
                detail={
                    "ModelPackageGroupName": [settings.model_package_group],
                    "ModelApprovalStatus": ["Approved"],
                    # what promotion itself writes is a change, too; a version that is registered
                    # as approved has no list of changes
                    "$or": [
                        {"UpdatedModelPackageFields": ["ModelApprovalStatus"]},
                        {"UpdatedModelPackageFields": [{"exists": False}]},
                    ],
                },
            ),
            targets=[cast("events.IRuleTarget", target)],
        )

    def _dead_letters(self, alerts: sns.ITopic) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            queue_name=self._settings.promotion_dead_letter_queue,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        dead_letters_alarm(
            self, settings=self._settings, alerts=alerts, section=UNDELIVERED, queue=queue
        )
        return queue

    def _tell(self, alerts: sns.ITopic) -> None:
        """Whatever keeps a version from the devices is told, with the reason."""
        settings = self._settings
        field = events.EventField.from_path
        target = targets.SnsTopic(
            alerts,
            message=events.RuleTargetInput.from_text(
                f"{TOLD[STOPPED].says} in {settings.name} ({field('$.detail.status')} "
                f"{field('$.detail.error')}): {field('$.detail.cause')} See: slm promotions --env "
                f"{settings.environment}. What to do: {settings.runbook_link(STOPPED)}"
            ),
            retry_attempts=RETRIES,
            max_event_age=MAX_AGE,
        )
        events.Rule(
            self,
            "Stopped",
            rule_name=f"{settings.name}-{STOPPED}",
            description="A promotion did not reach the devices",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [settings.promotion_machine_arn],
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                },
            ),
            targets=[cast("events.IRuleTarget", target)],
        )

    def _log_group(self, construct_id: str, name: str) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            construct_id,
            log_group_name=name,
            encryption_key=self._key,
            retention=LOG_RETENTION,
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _by_name(self, construct_id: str, name: str) -> iam.IRole:
        """A role that no grant can widen."""
        settings = self._settings
        arn = f"arn:{settings.partition}:iam::{settings.account}:role/{name}"
        return iam.Role.from_role_arn(self, construct_id, arn, mutable=False)
