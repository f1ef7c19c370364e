"""``slm start``: parameters checked, cost estimated, asked above a limit, started once."""

from __future__ import annotations

import pytest

from tests.pipeline.cloud.emulated import Emulated, run_slm


def executions(account: Emulated) -> list[str]:
    listed = account.client("sagemaker").list_pipeline_executions(
        PipelineName=account.settings.pipeline_name
    )
    return [one["PipelineExecutionArn"] for one in listed["PipelineExecutionSummaries"]]


def test_an_execution_is_started_with_the_parameters_given(account: Emulated, tmp_path):
    params = tmp_path / "params.json"
    params.write_text('[{"Name": "Epochs", "Value": "9"}, {"Name": "Verbose", "Value": "TRUE"}]')
    done = account.slm("start", "--params", params, "--set", "Epochs=2", "--set", "MinAccuracy=0.9")
    assert done.returncode == 0, done.stderr
    [arn] = executions(account)
    assert arn in done.stdout
    assert f"slm watch {arn[-12:]} --env {account.file}" in done.stdout
    assert "estimate   $0.0" in done.stdout
    given = account.client("sagemaker").list_pipeline_parameters_for_execution(
        PipelineExecutionArn=arn
    )["PipelineParameters"]
    assert {p["Name"]: p["Value"] for p in given} == {
        "Epochs": "2", "Verbose": "true", "MinAccuracy": "0.9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("Epoch=2", "There is no parameter Epoch: did you mean Epochs?"),
        ("Epochs=many", "Parameter Epochs is an Integer, and 'many' is not."),
        ("Machine=ml.m5.huge", "Parameter Machine is one of ml.m5.xlarge, ml.p4d.24xlarge"),
        ("Epochs", "--set Epochs is not NAME=VALUE"),
    ],
)
def test_a_wrong_parameter_starts_nothing(account: Emulated, slm, assignment, said):
    done = slm("start", "--set", assignment, "--yes", *account.options)
    assert (done.exit_code, said in done.stderr) == (2, True), done.output
    assert executions(account) == []


def test_the_deployed_definition_decides_not_the_one_in_this_checkout(account: Emulated, slm):
    done = slm("start", "--set", "LoraRank=8", *account.options)
    assert done.exit_code == 2
    assert "There is no parameter LoraRank" in done.stderr


def test_above_the_limit_nothing_is_started_without_a_terminal_or_yes(account: Emulated, slm):
    expensive = ("start", "--set", "Machine=ml.p4d.24xlarge", *account.options)
    done = slm(*expensive)
    assert done.exit_code == 1
    assert "is more than ask_above_usd = 1: repeat with --yes." in done.stderr
    assert executions(account) == []
    assert slm(*expensive, "--yes").exit_code == 0
    assert len(executions(account)) == 1


def test_a_machine_without_a_price_is_asked_about(account: Emulated, slm):
    done = slm("start", "--set", "Machine=ml.unheard.of", *account.options)
    assert done.exit_code == 1
    assert "because ml.unheard.of has no price: repeat with --yes." in done.stderr


@pytest.mark.parametrize(("answer", "started"), [("n\n", 0), ("y\n", 1)])
def test_on_a_terminal_it_asks(account: Emulated, monkeypatch, answer, started):
    from typer.testing import CliRunner

    from pipeline.cli.app import app

    monkeypatch.setattr("pipeline.cli.cloud.on_terminal", lambda: True)
    words = ["start", "--set", "Machine=ml.p4d.24xlarge", *account.options]
    done = CliRunner().invoke(app, words, input=answer)
    assert done.exit_code == 1 - started
    assert len(executions(account)) == started


def test_a_limit_of_the_settings_is_taken(account: Emulated, slm):
    account.file.write_text("ask_above_usd = 0.001\n" + account.file.read_text())
    done = slm("start", *account.options)
    assert "more than ask_above_usd = 0.001" in done.stderr


def test_a_pipeline_that_is_not_deployed_says_what_to_do(emulated: Emulated):
    done = emulated.slm("start")
    assert done.returncode == 1
    assert done.stderr == (
        "error: Pipeline slm-edge-dev is not deployed in account 123456789012 (eu-west-1): check "
        "--env and the credentials, or deploy it with cdk deploy --all -c env=dev.\n"
    )


def test_without_credentials_it_says_how_to_log_in(account: Emulated):
    done = account.slm("start", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert done.returncode == 1
    assert done.stderr == (
        "error: Could not read pipeline slm-edge-dev: there are no credentials; log in (aws sso "
        "login, or set AWS_PROFILE) and repeat the command.\n"
    )


def test_a_definition_that_is_no_json_is_one_sentence(account: Emulated, slm):
    account.client("sagemaker").update_pipeline(
        PipelineName=account.settings.pipeline_name, PipelineDefinition="no json"
    )
    done = slm("start", *account.options)
    assert done.exit_code == 1
    assert "The definition of slm-edge-dev is not a JSON object: deploy it again." in done.stderr


def test_parameters_that_cannot_be_read_are_one_sentence(account: Emulated, slm):
    account.client("sagemaker").update_pipeline(
        PipelineName=account.settings.pipeline_name,
        PipelineDefinition='{"Parameters": [{"Name": "A", "Type": "Colour"}], "Steps": []}',
    )
    done = slm("start", *account.options)
    assert done.exit_code == 1
    assert "The definition of slm-edge-dev cannot be read: $.Parameters[0].Type" in done.stderr


def test_an_environment_that_does_not_exist_is_wrong_usage():
    done = run_slm("start", "--env", "nowhere")
    assert done.returncode == 2
    assert "environment 'nowhere' is not one of" in done.stderr


def test_this_machine_is_no_account(slm):
    done = slm("start", "--env", "local")
    assert (done.exit_code, "--env local is this machine and no account" in done.stderr) == (
        2,
        True,
    )
