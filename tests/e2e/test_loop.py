"""The loop that closes by itself: users' language shifts, and days later devices understand it.

Fifty devices, each a process, on an emulated account over HTTP. The pipeline trains a real model,
`slm promote` brings it to the devices through the canary, they count what it answers. Then half of
what people say is German. The drift check sees it in the counts, its event starts one training on
the newest dataset, the candidate is compared with the champion, a person approves, the canary and
the fleet take it, and the drift is gone. An hour of the devices lasts some seconds; the events pass
the rules that the stacks deploy.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from edge.classifier import IntentClassifier
from pipeline.definition import definition_json
from pipeline.settings import Settings
from tests.cdk.synthesized import synthesize
from tests.e2e import language
from tests.e2e.apart import alive, unmeasured
from tests.e2e.front import running_apart
from tests.e2e.language import Row
from tests.e2e.rules import Rules
from tests.e2e.speaking import fast
from tests.pipeline.cloud.emulated import ACCOUNT, REGION, SETTINGS, Emulated, environment
from tests.pipeline.cloud.fleet.emulated_fleet import make_fleet

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CANARIES = [f"canary-{number}" for number in range(5)]
FLEET = [f"device-{number}" for number in range(45)]
HOUR_SECONDS = 8.0
"""How long an hour of the devices is; they send a window each hour."""
GRACE = timedelta(hours=2)
"""After which the check takes a period for complete (steps/drift/config.py)."""
QUICK = {"Epochs": 2, "MinAccuracy": 0.5, "MinOutOfScopeAuroc": 0.5, "MaxCalibrationError": 0.3,
         "MaxAccuracyDrop": 0.1, "MinAgreement": 0.85, "MaxAurocDrop": 0.1}  # fmt: skip
"""Fewer epochs, and bounds that hold on a test split of some dozen utterances."""
CHANGES = """
[promotion]
min_utterances = 100
"""


@dataclass
class Loop:
    """The account, the devices' folders, and what is done in them."""

    cloud: Emulated
    folder: Path
    repository: Path
    rules: Rules

    @property
    def devices(self) -> Path:
        return self.folder / "devices"

    @cached_property
    def ways(self) -> dict[str, list[Row]]:
        """What devices hear, before and after: the second is half of it in the other language."""
        usual = language.heard(language.usual(self.repository))
        return {"usual": usual, "shifted": usual + language.heard(language.shifted())}

    def slm(self, *words: object, codes: tuple[int, ...] = (0,)) -> str:
        """An ``slm`` command in the account, and what it printed."""
        command = [sys.executable, "-m", "pipeline.cli", *map(str, words), *self.cloud.options]
        # wheels would be unpacked a hundred times; test_component.py installs them
        own = {"SLM_HOME": str(self.folder / "home"), "SLM_WHEELS": "none"}
        done = subprocess.run(
            command,
            env=unmeasured(environment(**own)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in codes, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def upload(self, name: str, rows: list[Row]) -> None:
        """A dataset of everything of ``rows`` that devices do not hear."""
        self.slm("upload", language.write(rows, self.folder / name))

    def train(self, parameters: dict[str, str]) -> dict[str, Any]:
        """Carry the deployed definition out; the evaluation."""
        given = [f"--set={name}={value}" for name, value in {**QUICK, **parameters}.items()]
        self.slm("run", "--pipeline", self.cloud.settings.pipeline_name, *given)
        return json.loads(self.outputs("evaluation/evaluation.json")[-1])

    def outputs(self, name: str) -> list[bytes]:
        """That file of every execution, the oldest first."""
        s3, bucket = self.cloud.client("s3"), self.cloud.settings.pipeline_bucket
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="executions/")
        found = [one for page in pages for one in page["Contents"] if one["Key"].endswith(name)]
        found.sort(key=lambda one: one["LastModified"])
        return [s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in found]

    def teach(self, number: int) -> None:
        """Ask version ``number`` what devices may hear, and tell their processes its answers."""
        compiled = self.folder / f"compiled-{number}"
        compiled.mkdir()
        for name in ("model.onnx", "tokenizer.json", "intents.json", "compilation.json"):
            (compiled / name).write_bytes(self.outputs(f"compiled/{name}")[-1])
        model = IntentClassifier.load(compiled)
        path = self.devices / "answers.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        known[f"1.0.{number}"] = {
            way: [_counted(model, row.text) for row in rows] for way, rows in self.ways.items()
        }
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(known))
        scratch.replace(path)

    def speak(self, way: str) -> None:
        (self.devices / "way").write_text(way)

    def promote(self, number: int) -> None:
        """Approve, as a person does, and go on with the event that the registry sends then."""
        self.slm("approve", number)
        settings, events = self.cloud.settings, self.cloud.client("events")
        arn = f"{settings.model_package_group_arn}/{number}"
        arn = arn.replace(":model-package-group/", ":model-package/")
        for status in ("Rejected", "Approved"):
            detail = {
                "ModelPackageGroupName": settings.model_package_group,
                "ModelPackageArn": arn,
                "ModelApprovalStatus": status,
            }
            events.put_events(Entries=[{
                "Source": "aws.sagemaker", "DetailType": "SageMaker Model Package State Change",
                "Detail": json.dumps(detail),
            }])  # fmt: skip
        [approved] = self.rules.let_through(settings.approval_rule)
        self.slm("promote", approved["detail"]["ModelPackageArn"], "--poll-seconds", "1")

    def check(self, since: datetime) -> dict[str, Any]:
        """The drift check as soon as the hour that began at ``since`` is complete."""
        until = since + timedelta(hours=1, minutes=5) + GRACE
        while now() < until:
            time.sleep(0.2)
        found = self.slm(
            "drift", "--until", until.isoformat(), "--period-hours", "1", "--json", codes=(0, 3)
        )
        return json.loads(found)

    def retrain(self, event: dict[str, Any]) -> dict[str, Any]:
        """What the function behind the rule does with a drift event."""
        variables = self.rules.function_environment(self.cloud.settings.retraining_function)
        code = "import json, sys; from index import handler; handler(json.load(sys.stdin), None)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(event),
            env=environment(
                **variables,
                AWS_ENDPOINT_URL=self.cloud.address,
                PYTHONPATH=str(self.repository / "cdk/functions/retraining"),
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def on_devices(self) -> set[str | None]:
        groups = json.loads(self.slm("fleet", "status", "--json"))["groups"]
        return {device["version"] for group in groups for device in group["devices"]}


def _counted(model: IntentClassifier, text: str) -> dict[str, Any]:
    """Of an answer, what telemetry looks at."""
    answer = model.predict(text)
    return {
        "intent": answer.intent,
        "confidence": answer.confidence,
        "out_of_scope": answer.out_of_scope,
        "energy": answer.energy,
        "tokens": answer.tokens,
        "unknown_tokens": answer.unknown_tokens,
        "characters": len(text),
    }


def now() -> datetime:
    """The devices' time."""
    return datetime.fromtimestamp(fast(time.time()), UTC)


def next_hour() -> datetime:
    return now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


@pytest.fixture
def loop(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    # days ago, so that hours that last seconds end before now
    monkeypatch.setenv("SLM_TEST_CLOCK", f"{time.time()} {time.time() - 4 * 86400} {HOUR_SECONDS}")
    with running_apart(ACCOUNT, REGION) as address:
        file = tmp_path / "settings.toml"
        file.write_text(SETTINGS + CHANGES)
        settings = Settings.read(file)
        cloud = Emulated(address, file, settings)
        make_fleet(cloud)
        cloud.client("sagemaker").create_pipeline(
            PipelineName=settings.pipeline_name,
            PipelineDefinition=definition_json(settings),
            ClientRequestToken="0" * 32,
            RoleArn=settings.role_arn("pipeline"),
        )
        cloud.client("scheduler").create_schedule_group(Name=settings.schedule_group)
        rules = Rules(cloud, synthesize(settings, tmp_path / "cdk.out", whole=True))
        for name in (settings.drift_rule, settings.approval_rule):
            rules.put(name)
        yield Loop(cloud, tmp_path, repository, rules)


def provision(loop: Loop) -> list[Path]:
    """A folder for every device, as whoever sets one up leaves it; the canaries first."""
    for options, names in ((["--canary"], CANARIES), ([], FLEET)):
        loop.slm("fleet", "provision", *names, *options, "--out", loop.devices)
    folders = [loop.devices / name for name in (*CANARIES, *FLEET)]
    for folder in folders:
        config = folder / "config.toml"
        text = config.read_text().replace("/etc/slm-edge", str(folder))
        own = f'"{loop.cloud.address}/topics/slm/{folder.name}/telemetry"'
        config.write_text(text.replace('"greengrass"', own) + f"window_seconds = {HOUR_SECONDS}\n")
    return folders


def test_a_shift_in_language_is_seen_retrained_approved_and_gone(loop: Loop) -> None:
    usual, settings = language.usual(loop.repository), loop.cloud.settings
    sagemaker, scheduler = loop.cloud.client("sagemaker"), loop.cloud.client("scheduler")

    loop.upload("before", usual)
    loop.train({"InputData": f"s3://{settings.raw_bucket}/datasets/before"})
    loop.devices.mkdir()
    loop.speak("usual")
    loop.teach(1)
    with alive("tests.e2e.speaking", provision(loop), loop.cloud.address) as processes:
        loop.promote(1)
        assert loop.on_devices() == {"1.0.1"}
        quiet = loop.check(next_hour())
        assert not quiet["found"], quiet["message"]
        assert [one["status"] for one in quiet["versions"]] == ["no drift"]

        # people begin to speak in another way; somebody labels some of it
        loop.speak("shifted")
        began = next_hour()
        loop.upload("after", usual + language.shifted())
        hours = (began + timedelta(hours=hour) for hour in range(2))
        assert any(loop.check(hour)["found"] for hour in hours), "not within two windows"
        [event] = loop.rules.let_through(settings.drift_rule)

        # EventBridge delivers an event once or oftener; one execution comes of it
        assert [loop.retrain(event)["done"] for _ in range(2)] == ["scheduled", "joined"]
        [waiting] = scheduler.list_schedules(GroupName=settings.schedule_group)["Schedules"]
        schedule = scheduler.get_schedule(Name=waiting["Name"], GroupName=settings.schedule_group)
        start = json.loads(schedule["Target"]["Input"])
        sagemaker.start_pipeline_execution(**start)  # what the scheduler calls when it is time
        scheduler.delete_schedule(Name=waiting["Name"], GroupName=settings.schedule_group)
        assert loop.retrain(event)["done"] == "cooling down"

        given = {one["Name"]: one["Value"] for one in start["PipelineParameters"]}
        assert given == {"InputData": f"s3://{settings.raw_bucket}/datasets/after"}
        evaluation = loop.train(given)
        champion = evaluation["champion"]
        assert evaluation["gate"]["accuracy"] > champion["accuracy"]["value"]
        assert champion["candidate_alone_right"] > 2 * champion["champion_alone_right"]
        loop.teach(2)
        loop.promote(2)
        assert loop.on_devices() == {"1.0.2"}
        gone = loop.check(next_hour() + timedelta(hours=1))
        newest = gone["versions"][-1]
        assert (newest["version"], newest["status"]) == ("1.0.2", "no drift")
        assert [process.poll() for process in processes] == [None] * 50
    assert [process.returncode for process in processes] == [0] * 50
    assert len(loop.outputs("evaluation/evaluation.json")) == 2, "one training more than the first"
