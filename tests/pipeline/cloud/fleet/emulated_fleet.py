"""An emulated account with what the edge stack makes, packages, and devices without a process."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdk.edge.telemetry import object_key, sql
from pipeline.settings import Settings
from tests.e2e.greengrass import Greengrass
from tests.pipeline.cloud.emulated import REGION, Emulated

ARCHITECTURES = ("x86_64", "aarch64")


def make_fleet(emulated: Emulated) -> None:
    """Key, signing key, buckets, thing type, groups, policy and the rule for telemetry."""
    settings, kms, iot = emulated.settings, emulated.client("kms"), emulated.client("iot")
    for alias, options in (
        (settings.kms_alias, {}),
        (settings.signing_alias, {"KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256"}),
    ):
        key = kms.create_key(**options)["KeyMetadata"]
        kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    for bucket in settings.buckets.values():
        emulated.client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    iot.create_thing_type(thingTypeName=settings.thing_type)
    for group in (settings.thing_group, settings.canary_group):
        iot.create_thing_group(thingGroupName=group)
    iot.create_policy(policyName=settings.device_policy, policyDocument="{}")
    stored = {
        "bucketName": settings.processed_bucket,
        "key": object_key(settings),
        "roleArn": settings.token_exchange_role_arn,
    }
    iot.create_topic_rule(
        ruleName=settings.telemetry_rule,
        topicRulePayload={"sql": sql(), "actions": [{"s3": stored}]},
    )


def write_package(
    emulated: Emulated,
    folder: Path,
    version: str,
    *,
    zips: dict[str, bytes] | None = None,
    manifest: bytes | None = None,
) -> Path:
    """What the package step leaves, signed with the account's key."""
    settings = emulated.settings
    name = settings.component_name
    folder.mkdir(parents=True)
    archives = {}
    for architecture in ARCHITECTURES:
        content = (zips or {}).get(architecture, f"{architecture} {version}".encode())
        file = f"{name}-{architecture}.zip"
        (folder / file).write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        archives[architecture] = {"zip": file, "sha256": sha256, "bytes": len(content)}
    text = manifest or json.dumps({"version": version}).encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / "manifest.sig").write_bytes(sign(emulated, text))
    summary = {
        "name": name,
        "version": version,
        "archives": archives,
        "manifest_sha256": hashlib.sha256(text).hexdigest(),
    }
    (folder / "package.json").write_text(json.dumps(summary))
    (folder / "recipe.json").write_text(json.dumps(_recipe(name, version)))
    return folder


def sign(emulated: Emulated, text: bytes) -> bytes:
    """The account's signature of ``text``."""
    return emulated.client("kms").sign(
        KeyId=emulated.settings.signing_alias,
        Message=text,
        MessageType="RAW",
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]


def _recipe(name: str, version: str) -> dict[str, Any]:
    def manifest(architecture: str) -> dict[str, Any]:
        platform = {"os": "linux", "runtime": "*"}
        platform["architecture"] = {"x86_64": "amd64"}.get(architecture, architecture)
        place = f"s3://elsewhere/components/{name}/{version}"
        zipped = {"Uri": f"{place}/{name}-{architecture}.zip", "Unarchive": "ZIP"}
        return {
            "Platform": platform,
            "Lifecycle": {},
            "Artifacts": [zipped, {"Uri": f"{place}/manifest.sig"}],
        }

    return {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": version,
        "Manifests": [manifest(architecture) for architecture in ARCHITECTURES],
    }


@dataclass
class Puppet:
    """A device without a process: takes what it is told, but for the versions it refuses."""

    thing: str
    service: Greengrass
    refuses: set[str] = field(default_factory=set)

    def step(self) -> None:
        """Ask once, and tell how it went."""
        work = self.service.work_of(self.thing)
        if work is None:
            return
        bad = [r for r in work["recipes"] if r["ComponentVersion"] in self.refuses]
        report = {
            "deployment": work["deployment"],
            "status": "FAILED" if bad else "SUCCEEDED",
            "reason": "The self-test failed." if bad else "",
            "health": "HEALTHY",
            "components": self.service.cores[self.thing]["components"]
            if bad
            else [
                {
                    "componentName": recipe["ComponentName"],
                    "componentVersion": recipe["ComponentVersion"],
                    "lifecycleState": "RUNNING",
                }
                for recipe in work["recipes"]
            ],
        }
        self.service.told_by(self.thing, report)


def publish(address: str, topic: str, message: bytes) -> None:
    """What a device sends."""
    urllib.request.urlopen(f"{address}/topics/{topic}", data=message).close()  # noqa: S310 - ours


def components(settings: Settings, version: str, **others: str) -> dict[str, Any]:
    """As a deployment has them."""
    names = {settings.component_name: version, **others}
    return {name: {"componentVersion": one} for name, one in names.items()}
