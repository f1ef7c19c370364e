"""``slm approve`` and ``slm reject``: figures first, then the status, and what is refused."""

from __future__ import annotations

import pytest

from tests.pipeline.cloud.emulated import Emulated


@pytest.fixture
def registry(account: Emulated):
    """Makes versions: call it with a status, an accuracy and a reason."""
    sagemaker = account.client("sagemaker")
    group = account.settings.model_package_group
    sagemaker.create_model_package_group(ModelPackageGroupName=group)

    def register(status: str, accuracy: str = "0.95", reason: str = "") -> str:
        properties = {"metric.accuracy": accuracy, "metric.odd": "no number", "commit": "abc123"}
        made = sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus=status,
            CustomerMetadataProperties=properties,
        )
        sagemaker.update_model_package(
            ModelPackageArn=made["ModelPackageArn"],
            ModelApprovalStatus=status,
            ApprovalDescription=reason,
            CustomerMetadataProperties=properties,
        )
        return made["ModelPackageArn"]

    return register


def described(account: Emulated, arn: str) -> dict:
    return account.client("sagemaker").describe_model_package(ModelPackageName=arn)


def test_the_newest_pending_version_is_approved_after_its_figures_were_shown(
    account: Emulated, registry
):
    registry("Approved", "0.91")
    registry("PendingManualApproval", "0.92")
    arn = registry("PendingManualApproval", "0.953")
    registry("Rejected", "0.2")
    done = account.slm("approve", "--note", "better by four points")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "version 3   approved: version 1" in done.stdout
    assert any(line.split() == ["accuracy", "95.3%", "91.0%"] for line in lines), lines
    assert lines[-1] == "Version 3 of slm-edge-dev-intents is approved."
    now = described(account, arn)
    assert now["ModelApprovalStatus"] == "Approved"
    assert now["ApprovalDescription"] == "better by four points"
    assert now["CustomerMetadataProperties"]["commit"] == "abc123"


@pytest.mark.parametrize("by", ["number", "arn"])
def test_a_version_is_approved_by_its_number_or_arn(account: Emulated, registry, slm, by):
    arn = registry("PendingManualApproval")
    registry("PendingManualApproval")
    done = slm("approve", "1" if by == "number" else arn, *account.options)
    assert done.exit_code == 0, done.output
    assert described(account, arn)["ModelApprovalStatus"] == "Approved"


def test_a_version_is_rejected_with_a_reason_and_may_be_approved_later(
    account: Emulated, registry, slm
):
    arn = registry("PendingManualApproval")
    done = slm("reject", "1", "--reason", "wrong on names", *account.options)
    assert done.exit_code == 0, done.output
    assert described(account, arn)["ApprovalDescription"] == "wrong on names"
    again = slm("reject", "1", "--reason", "still", *account.options)
    assert again.exit_code == 1
    assert "is rejected already (wrong on names)." in again.stderr
    assert slm("approve", "1", *account.options).exit_code == 0


def test_what_is_approved_is_not_approved_again(account: Emulated, registry, slm):
    registry("Approved")
    done = slm("approve", "1", *account.options)
    assert done.exit_code == 1
    assert "error: Version 1 of slm-edge-dev-intents is approved already." in done.stderr


def test_what_the_parity_gate_rejected_is_not_approved(account: Emulated, registry, slm):
    arn = registry("Rejected", reason="Parity gate: agreement 0.8 is below MinAgreement 0.95")
    done = slm("approve", "1", *account.options)
    assert done.exit_code == 1
    assert "was rejected by the parity gate (agreement 0.8 is below" in done.stderr
    assert "95.0%" in done.stdout
    assert described(account, arn)["ModelApprovalStatus"] == "Rejected"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["approve"], 1, "No version of slm-edge-dev-intents waits for approval"),
        (["approve", "7"], 1, "There is no version 7 of slm-edge-dev-intents in account"),
        (["approve", "seven"], 2, "'seven' is not a version: give its number or its ARN."),
        (["reject", "1", "--reason", " "], 2, "--reason is empty"),
    ],
)
def test_a_version_that_is_none_is_one_sentence(account: Emulated, slm, words, code, said):
    done = slm(*words, *account.options)
    assert (done.exit_code, said in done.stderr) == (code, True), done.output


def test_a_version_that_nobody_measured_is_said_to_be(account: Emulated, slm):
    sagemaker = account.client("sagemaker")
    group = account.settings.model_package_group
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    sagemaker.create_model_package(
        ModelPackageGroupName=group, ModelApprovalStatus="PendingManualApproval"
    )
    done = slm("approve", *account.options)
    assert (done.exit_code, "nobody has measured it" in done.stdout) == (0, True), done.output
