"""Versions as pipeline and *package* leave them in the account, and what devices then tell."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.telemetry.window import Origin, Window, encode
from pipeline.cloud.fleet import deployments, packages
from pipeline.cloud.fleet.deployments import Rollout
from pipeline.cloud.promotion.promoting import Look, Promoter
from pipeline.cloud.promotion.record import Record, Records, iso
from pipeline.cloud.session import Account
from tests.pipeline.cloud.emulated import Emulated
from tests.pipeline.cloud.fleet.emulated_fleet import Puppet, publish, write_package

MODEL = b"the model's bytes"
_clients: dict[str, dict[str, Any]] = {}


def account_of(cloud: Emulated) -> Account:
    """An account with the clients of earlier tests: making them takes longer than most tests."""
    account = Account(cloud.settings, cloud.address)
    account._clients = _clients.setdefault(cloud.address, {})  # pyright: ignore[reportPrivateUsage]
    return account


class Clock:
    """The time, and some minutes more when a test says so."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True)
class Prediction:
    """What a device counts of an answer."""

    intent: str = "weather"
    confidence: float = 0.9
    out_of_scope: bool = False
    energy: float = 9.0
    tokens: int = 6
    unknown_tokens: int = 0


@dataclass(frozen=True)
class Promotable:
    """A registered version and where its files are."""

    arn: str
    number: int
    component: str
    package: str
    """The folder's key in the pipeline's bucket."""
    model: str


def register(
    cloud: Emulated, number: int, *, status: str = "Approved", noted: bool = True
) -> Promotable:
    """Version ``number`` with model and package, as an execution leaves them.

    The registry counts by itself: the numbers of a test go up from 1.
    """
    settings, s3, component = cloud.settings, cloud.client("s3"), f"1.0.{number}"
    root = f"executions/e{number}"
    package, model = f"{root}/PackageComponent/package", f"{root}/TrainModel/output/model.tar.gz"
    properties = {"model_sha256": hashlib.sha256(MODEL).hexdigest(), "execution_id": f"e{number}"}
    properties |= {f"hyperparameter.p{n}": "1" for n in range(30)}
    with tempfile.TemporaryDirectory() as folder:
        made = write_package(cloud, Path(folder) / "package", component)
        summary = json.loads((made / "package.json").read_text())
        summary["recipe_sha256"] = hashlib.sha256((made / "recipe.json").read_bytes()).hexdigest()
        reference = b'{"format": 1, "utterances": 20, "counts": {"out_of_scope": 2}}'
        (made / "reference.json").write_bytes(reference)
        summary["reference_sha256"] = hashlib.sha256(reference).hexdigest()
        (made / "package.json").write_text(json.dumps(summary))
        for file in made.iterdir():
            s3.put_object(
                Bucket=settings.pipeline_bucket,
                Key=f"{package}/{file.name}",
                Body=file.read_bytes(),
            )
        if noted:
            properties["package_url"] = f"s3://{settings.pipeline_bucket}/{package}"
            digest = hashlib.sha256((made / "package.json").read_bytes()).hexdigest()
            properties["package_sha256"] = digest
    s3.put_object(Bucket=settings.pipeline_bucket, Key=model, Body=MODEL)
    sagemaker = cloud.client("sagemaker")
    if number == 1:
        sagemaker.create_model_package_group(ModelPackageGroupName=settings.model_package_group)
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=settings.model_package_group,
        ModelPackageDescription=f"18 intents [{number:032x}]",
        ModelApprovalStatus=status,
        InferenceSpecification={
            "Containers": [
                {
                    "Image": "localhost/slm-edge/processing:local",
                    "ModelDataUrl": f"s3://{settings.pipeline_bucket}/{model}",
                }
            ],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties=properties,
    )["ModelPackageArn"]
    return Promotable(arn, number, component, package, model)


def decide(cloud: Emulated, version: Promotable, status: str) -> None:
    """What a person does in the registry."""
    cloud.client("sagemaker").update_model_package(
        ModelPackageArn=version.arn,
        ModelApprovalStatus=status,
        CustomerMetadataProperties=properties_of(cloud, version),
    )


def properties_of(cloud: Emulated, version: Promotable) -> dict[str, str]:
    described = cloud.client("sagemaker").describe_model_package(ModelPackageName=version.arn)
    return described["CustomerMetadataProperties"]


@dataclass
class Fleet:
    """Devices, the clock of whoever promotes, and how they are told of."""

    cloud: Emulated
    puppets: list[Puppet]
    clock: Clock
    sent: int = field(default=0)

    def promoter(self, account: Account, name: str = "a") -> Promoter:
        return Promoter(account, account, name=name, now=self.clock)

    def step(self) -> None:
        """Every device asks for work once."""
        for one in self.puppets:
            one.step()

    def tell(
        self,
        thing: str,
        version: str,
        *,
        good: int = 0,
        outside: int = 0,
        seconds: float = 0.001,
        errors: int = 0,
        gave_up: str = "",
    ) -> None:
        """A device sends a window."""
        window = Window(time.monotonic())
        for number in range(good + outside):
            window.add(Prediction(out_of_scope=number >= good), 20, seconds)
        for _ in range(errors):
            window.error("internal")
        self.sent += 1
        text = encode(
            window,
            Origin(thing, version, "1", 5),
            sequence=self.sent,
            now=time.monotonic(),
            reports=({"kind": "rolled_back", "version": gave_up},) if gave_up else (),
        )
        publish(self.cloud.address, f"slm/{thing}/telemetry", text)

    def has(self, version: str) -> None:
        """Every device has a version, which the account has as well, however that came to be."""
        service, settings = self.puppets[0].service, self.cloud.settings
        account = account_of(self.cloud)
        recipe = {"ComponentName": settings.component_name, "ComponentVersion": version}
        service.recipes[packages.component_arn(account, version)] = recipe
        for group in (settings.canary_group, settings.thing_group):
            deployments.create(account, group, version, Rollout())
        self.step()

    def watched(self, version: Promotable) -> Record:
        """A promotion whose canary took the version, and told nothing yet."""
        account, now = account_of(self.cloud), self.clock()
        settings = self.cloud.settings
        recipe = {"ComponentName": settings.component_name, "ComponentVersion": version.component}
        arn = packages.component_arn(account, version.component)
        self.puppets[0].service.recipes[arn] = recipe
        made = deployments.create(account, settings.canary_group, version.component, Rollout())
        self.step()
        record = Record(
            package=version.arn,
            group=settings.model_package_group,
            version=version.number,
            source=settings.environment,
            target=settings.environment,
            started=iso(now),
            since=iso(now),
            component=version.component,
            before={"canary": "1.0.1", "fleet": "1.0.1"},
            deployments={"canary": made},
        )
        for state in ("verify", "copy", "canary", "watch"):
            record = record.to(state, "", now)
        return Records(account).write(record, None, now).record

    def run(self, promoter: Promoter, arn: str, *, again: bool = False, limit: int = 60) -> Record:
        """Promote to the end; the canary tells enough of the new version once it is watched."""
        record = promoter.begin(arn, again=again)
        return self.go_on(promoter, record, limit=limit)

    def go_on(self, promoter: Promoter, record: Record, *, limit: int = 60) -> Record:
        told = False
        for _ in range(limit):
            if record.ended:
                return record
            look: Look = promoter.advance(record.name)
            record = look.record
            self.step()
            if record.state == "watch" and not told:
                told = True
                self.tell("c1", record.component, good=220)
        raise AssertionError(f"it did not end: {record.state}")


def snapshot(cloud: Emulated, account: Account, version: Promotable) -> dict[str, Any]:
    """What a promotion left, without times, ids and who did it."""
    stored = Records(account).read(f"{cloud.settings.model_package_group}/{version.number}")
    assert stored is not None
    record = stored.record
    properties = {
        key: re.sub(r"\d{4}-\d\d-\d\dT\S+", "TIME", text)
        for key, text in properties_of(cloud, version).items()
    }
    groups = (cloud.settings.canary_group, cloud.settings.thing_group)
    return {
        "state": (record.state, record.component, record.holder, dict(record.before)),
        "history": [entry.state for entry in record.history],
        "hashes": (record.package_sha256, record.model_sha256),
        "properties": properties,
        "deployments": {
            group: [
                (one.version, one.status)
                for one in deployments.history(account, group)
                if one.version == version.component
            ]
            for group in groups
        },
        "objects": sorted(
            (
                key,
                cloud.head(f"s3://{cloud.settings.deployments_bucket}/{key}")["Metadata"]["sha256"],
            )
            for key in cloud.keys(cloud.settings.deployments_bucket)
            if version.component in key
        ),
    }
