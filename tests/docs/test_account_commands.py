"""What the pages say about an account is typed, word for word, in an emulated one.

Left out, with a test of their own each (seen.py): what needs a run of this machine, a signed
package, devices, or an execution that ends.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from tests.docs.commands import commands
from tests.pipeline.cloud.conftest import ours  # noqa: F401 - a fixture
from tests.pipeline.cloud.emulated import (  # noqa: F401 - fixtures
    Emulated,
    account,
    emulated,
    emulator,
)

REPOSITORY = Path(__file__).resolve().parents[2]
TYPED = {"import", "upload", "start", "approve", "reject", "costs", "promotions"}
ELSEWHERE = {"clinc150", "banking77", "cloud"}
"""Need files or answers that are not here: tests/pipeline/cli types them."""
SOURCE = "slm-intents-raw-dev-111111111111-eu-west-1"


def typed() -> list[list[str]]:
    """The commands, in the order of the pages; imports first, which others need."""
    found = dict.fromkeys(c.words[1:] for c in commands(REPOSITORY) if c.program == "slm")
    wanted = [words for words in found if words and words[0] in TYPED]
    kept = [list(words) for words in wanted if not ELSEWHERE & set(words)]
    return sorted(kept, key=lambda words: words[0] != "import")


def for_account(words: list[str], account: Emulated) -> list[str]:  # noqa: F811
    """The same command, about the emulated account instead of dev."""
    if words[0] in ("import", "costs"):
        return words
    if "--env" in words:
        at = words.index("--env")
        words = words[:at] + words[at + 2 :]
    return [word.replace(SOURCE, account.settings.raw_bucket) for word in words] + account.options


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has what the pages have where they are read."""
    for name in ("data", "pipeline"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    rows = (REPOSITORY / "data/smart_home/utterances.jsonl").read_text().splitlines()[::9]
    lines = ["utterance,category"]
    lines += [json.dumps(r["text"]) + "," + r["intent"] for r in map(json.loads, rows)]
    (tmp_path / "tickets.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def versions(account: Emulated) -> None:  # noqa: F811
    """Versions that wait for approval, as many as the pages name."""
    sagemaker, group = account.client("sagemaker"), account.settings.model_package_group
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    for _ in range(6):
        sagemaker.create_model_package(
            ModelPackageGroupName=group, ModelApprovalStatus="PendingManualApproval"
        )


@pytest.mark.usefixtures("place", "versions")
def test_every_command_about_an_account_works_in_an_emulated_one(
    account: Emulated,  # noqa: F811
    ours: dict[str, Any],  # noqa: F811
):
    account.client("sagemaker").update_pipeline(
        PipelineName=account.settings.pipeline_name, PipelineDefinition=json.dumps(ours)
    )
    seen = set()
    for words in typed():
        done = CliRunner().invoke(app, for_account(words, account))
        assert done.exit_code == 0, (words, done.output)
        seen.add(words[0])
    assert seen == TYPED
    executions = account.client("sagemaker").list_pipeline_executions(
        PipelineName=account.settings.pipeline_name
    )["PipelineExecutionSummaries"]
    assert len(executions) == sum(words[0] == "start" for words in typed())
