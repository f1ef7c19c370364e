"""A SageMaker Studio domain, by setting: where a data scientist sees and starts the pipeline.

Off by default. Traffic stays in the VPC of the settings, home folders are encrypted with our key,
idle notebooks stop by themselves, and people come in through IAM Identity Center where its instance
is set, else through IAM. The domain's role may look at the pipeline and start it; the pipeline then
runs with roles of its own, so a notebook cannot do what a job can.

Leaves out: the VPC with its endpoints, and who may open the domain (cdk/identity).
"""

from __future__ import annotations

from aws_cdk import CfnTag
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from cdk.roles.trust import trusted_by
from pipeline.settings import Settings

IDLE_MINUTES = 60


class Studio(Construct):
    """The domain, its role and its security group."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings, key: kms.IKey) -> None:
        super().__init__(scope, id)
        group = self._security_group(settings)
        role = self._role(settings, key)
        tags = [CfnTag(key=name, value=value) for name, value in settings.all_tags.items()]
        spaces = sagemaker.CfnDomain.DefaultSpaceSettingsProperty(
            execution_role=role.role_arn, security_groups=[group.attr_group_id]
        )
        idle = sagemaker.CfnDomain.IdleSettingsProperty(
            lifecycle_management="ENABLED", idle_timeout_in_minutes=IDLE_MINUTES
        )
        sagemaker.CfnDomain(
            self,
            "Resource",
            domain_name=settings.name,
            auth_mode="SSO" if settings.identity.instance_arn else "IAM",
            app_network_access_type="VpcOnly",
            vpc_id=settings.studio.vpc,
            subnet_ids=settings.studio.subnets,
            kms_key_id=key.key_arn,
            default_space_settings=spaces,
            default_user_settings=sagemaker.CfnDomain.UserSettingsProperty(
                execution_role=role.role_arn,
                security_groups=[group.attr_group_id],
                studio_web_portal="ENABLED",
                default_landing_uri="studio::",
                jupyter_lab_app_settings=sagemaker.CfnDomain.JupyterLabAppSettingsProperty(
                    app_lifecycle_management=sagemaker.CfnDomain.AppLifecycleManagementProperty(
                        idle_settings=idle
                    )
                ),
            ),
            tag_propagation="ENABLED",
            tags=tags,
        )

    def _security_group(self, settings: Settings) -> ec2.CfnSecurityGroup:
        """Out by HTTPS; in only from itself, which is how a domain's apps talk to each other."""
        group = ec2.CfnSecurityGroup(
            self,
            "SecurityGroup",
            group_description=f"Studio of {settings.name}",
            vpc_id=settings.studio.vpc,
            security_group_egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=443,
                    to_port=443,
                    cidr_ip="0.0.0.0/0",
                    description="AWS APIs, through the endpoints of the VPC where it has them",
                )
            ],
        )
        # "Connect Studio in a VPC to external resources", SageMaker developer guide: NFS for home
        # folders, 8192-65535 between the apps
        for number, (first, last) in enumerate(((2049, 2049), (8192, 65535))):
            ec2.CfnSecurityGroupIngress(
                self,
                f"Ingress{number}",
                group_id=group.attr_group_id,
                source_security_group_id=group.attr_group_id,
                ip_protocol="tcp",
                from_port=first,
                to_port=last,
                description="Between the apps of this domain",
            )
            ec2.CfnSecurityGroupEgress(
                self,
                f"Egress{number}",
                group_id=group.attr_group_id,
                destination_security_group_id=group.attr_group_id,
                ip_protocol="tcp",
                from_port=first,
                to_port=last,
                description="Between the apps of this domain",
            )
        return group

    def _role(self, settings: Settings, key: kms.IKey) -> iam.Role:
        execution = f"{settings.pipeline_arn}/execution/*"
        raw, files = (
            f"arn:{settings.partition}:s3:::{name}"
            for name in (settings.raw_bucket, settings.pipeline_bucket)
        )
        return iam.Role(
            self,
            "Role",
            role_name=f"{settings.name}-studio",
            description="What a notebook may do: look at the pipeline, start it, read its reports",
            assumed_by=trusted_by("pipeline", settings),  # SageMaker, for this account
            inline_policies={
                "studio": iam.PolicyDocument(
                    statements=[
                        iam.PolicyStatement(
                            actions=[
                                "sagemaker:DescribePipeline",
                                "sagemaker:ListPipelineExecutions",
                                "sagemaker:StartPipelineExecution",
                            ],
                            resources=[settings.pipeline_arn],
                        ),
                        iam.PolicyStatement(
                            actions=[
                                "sagemaker:DescribePipelineDefinitionForExecution",
                                "sagemaker:DescribePipelineExecution",
                                "sagemaker:ListPipelineExecutionSteps",
                                "sagemaker:ListPipelineParametersForExecution",
                                "sagemaker:StopPipelineExecution",
                            ],
                            resources=[execution],
                        ),
                        iam.PolicyStatement(
                            actions=["s3:GetObject"],
                            resources=[
                                f"{raw}/{settings.datasets_prefix}/*",
                                f"{files}/executions/*",
                            ],
                        ),
                        iam.PolicyStatement(
                            actions=["s3:ListBucket"],
                            resources=[raw, files],
                            conditions={
                                "StringLike": {
                                    "s3:prefix": [f"{settings.datasets_prefix}/*", "executions/*"]
                                }
                            },
                        ),
                        iam.PolicyStatement(actions=["kms:Decrypt"], resources=[key.key_arn]),
                    ]
                )
            },
        )
