"""``slm promote`` and ``slm promotions`` as processes, against the emulated account."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipeline.cloud.fleet import deployments
from pipeline.cloud.session import Account
from tests.pipeline.cloud.emulated import Emulated, environment
from tests.pipeline.cloud.promotion.promotable import Fleet, register


def test_a_version_is_promoted_to_its_end_and_listed(
    cloud: Emulated, account: Account, fleet: Fleet
) -> None:
    register(cloud, 1)
    settings = cloud.file.read_text() + "[promotion]\nmin_utterances = 20\n"
    cloud.file.write_text(settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "promote", "--poll-seconds", "0.1", *cloud.options],
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    while line := process.stdout.readline():
        said += line
        fleet.step()
        if line.startswith("  canary") and "all 2 devices" in line:
            fleet.tell("c1", "1.0.1", good=25)
        if line.startswith(("  copy", "  watch")):
            while deployments.latest(account, group_after(cloud, line)) is None:
                pass
            fleet.step()
    assert process.stderr is not None
    assert (process.wait(60), process.stderr.read()) == (0, "")
    assert said.startswith("slm-edge-dev-intents/1 from dev to dev\n")
    assert "done     1.0.1: 3 of 3 devices of slm-edge-dev took it" in said
    table = cloud.slm("promotions").stdout
    assert "slm-edge-dev-intents/1" in table
    [listed] = json.loads(cloud.slm("promotions", "--json").stdout)["promotions"]
    assert (listed["state"], listed["component"]) == ("done", "1.0.1")


def group_after(cloud: Emulated, line: str) -> str:
    """The group that is deployed to after that line."""
    copied = line.startswith("  copy")
    return cloud.settings.canary_group if copied else cloud.settings.thing_group


def test_what_is_refused_or_not_there_is_one_sentence(cloud: Emulated, fleet: Fleet) -> None:
    register(cloud, 1, status="PendingManualApproval")
    nothing = cloud.slm("promote")
    assert nothing.returncode == 1
    assert "No version of slm-edge-dev-intents is approved" in nothing.stderr
    refused = cloud.slm("promote", "1")
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: refused: Version 1 of slm-edge-dev-intents is PendingManualApproval: only an "
        "approved version is promoted.\n"
    )


def test_the_accounts_machine_is_started_and_only_looked_at(
    cloud: Emulated, fleet: Fleet, tmp_path: Path
) -> None:
    version = register(cloud, 1)
    missing = cloud.slm("promote", "1", "--by-machine")
    assert missing.returncode == 1
    assert "There is no state machine slm-edge-dev-promotion" in missing.stderr
    states = cloud.client("stepfunctions")
    machine = states.create_state_machine(
        name=cloud.settings.promotion_machine,
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn=cloud.settings.promotion_role_arn,
    )["stateMachineArn"]
    assert machine == cloud.settings.promotion_machine_arn
    done = cloud.slm("promote", "1", "--by-machine", "--once")
    assert (done.returncode, done.stderr) == (0, "")
    [execution] = states.list_executions(stateMachineArn=machine)["executions"]
    told = states.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(told) == {"arn": version.arn}
    assert execution["executionArn"] in done.stdout
    assert not [key for key in cloud.keys(cloud.settings.deployments_bucket) if "promot" in key]
