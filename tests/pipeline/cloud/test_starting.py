"""Starting: the shipped parameter file fits what is deployed."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.cloud import starting
from pipeline.cloud.session import Account
from tests.pipeline.cloud.emulated import Emulated


def test_the_shipped_parameters_start_our_pipeline_as_they_stand(
    account: Emulated, ours, repository: Path
):
    name = account.settings.pipeline_name
    sagemaker = account.client("sagemaker")
    sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=json.dumps(ours))
    entries = json.loads((repository / "pipeline" / "params.json").read_text())
    there = Account(account.settings, account.address)
    plan = starting.plan(there, {entry["Name"]: entry["Value"] for entry in entries})
    arn = starting.start(there, plan)
    given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert given["PipelineParameters"] == entries
