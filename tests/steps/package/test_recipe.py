from __future__ import annotations

import json
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from edge.settings import Settings
from steps.package.recipe import Contents, build_recipe
from tests.steps.package.conftest import CONFIG

# Spelling as in AWS's component recipe reference; nucleus lite compares case
TOP = {
    "RecipeFormatVersion", "ComponentName", "ComponentVersion", "ComponentType",
    "ComponentDescription", "ComponentPublisher", "ComponentConfiguration", "Manifests",
}  # fmt: skip
VARIABLES = {"artifacts:decompressedPath", "artifacts:path", "work:path"}
SHA256 = "0123456789abcdef" * 4


def build(**changes: Any) -> dict[str, Any]:
    return build_recipe(
        CONFIG, Contents(**{"version": "1.0.7", "requirements_sha256": SHA256} | changes)
    )


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [s for v in value.values() for s in strings(v)]
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


def test_the_recipe_is_one_that_both_nuclei_take() -> None:
    recipe = build()
    assert set(recipe) == TOP
    assert recipe["RecipeFormatVersion"] == "2020-01-25"
    assert re.fullmatch(r"\d+\.\d+\.\d+", recipe["ComponentVersion"])
    for manifest, (architecture, zipped) in zip(
        recipe["Manifests"], [("amd64", "x86_64"), ("aarch64", "aarch64")], strict=True
    ):
        assert set(manifest) == {"Platform", "Lifecycle", "Artifacts"}
        assert manifest["Platform"] == {
            "os": "linux", "architecture": architecture, "runtime": "*",
        }  # fmt: skip
        # lite knows no shutdown, recover or Skipif
        assert set(manifest["Lifecycle"]) == {"install", "run"}
        assert set(manifest["Lifecycle"]["install"]) == {"Script", "Timeout"}
        assert set(manifest["Lifecycle"]["run"]) == {"Script"}
        where = "s3://deployments/dev/components/com.example.Intents/1.0.7/"
        assert manifest["Artifacts"] == [
            {"Uri": f"{where}com.example.Intents-{zipped}.zip", "Unarchive": "ZIP"},
            {"Uri": f"{where}manifest.sig"},
        ]
    used = {name for s in strings(recipe) for name in re.findall(r"\{(\w+:[^}]+)\}", s)}
    assert used == VARIABLES


def test_a_nucleus_lets_the_component_send_counts_and_answer_and_nothing_else() -> None:
    """IPC without a policy is refused with UnauthorizedError by both nuclei."""
    settings = Settings.parse({"thing": "kitchen-1"})
    needs = {
        "aws.greengrass#PublishToIoTCore": settings.in_topic(settings.telemetry.topic),
        "aws.greengrass#SubscribeToTopic": settings.in_topic(settings.greengrass.requests),
        "aws.greengrass#PublishToTopic": settings.in_topic(settings.greengrass.responses),
    }
    configuration = build()["ComponentConfiguration"]["DefaultConfiguration"]
    services = configuration["accessControl"]
    assert set(services) == {"aws.greengrass.ipc.mqttproxy", "aws.greengrass.ipc.pubsub"}
    allowed: dict[str, str] = {}
    for service, policies in services.items():
        for name, policy in policies.items():
            assert name.startswith(f"com.example.Intents:{service.rpartition('.')[2]}:")
            (operation,), (resource,) = policy["operations"], policy["resources"]
            assert operation.endswith("ToIoTCore") == service.endswith("mqttproxy")
            allowed[operation] = resource
    assert set(allowed) == set(needs)
    for operation, topic in needs.items():
        assert fnmatchcase(topic, allowed[operation])
        assert allowed[operation].startswith("slm/")
        assert not fnmatchcase("slm/kitchen-1/else", allowed[operation])


def test_the_recipe_passes_the_service_model_of_greengrass() -> None:
    import botocore.session
    from botocore.validate import ParamValidator

    client = botocore.session.get_session().create_client(
        "greengrassv2", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    shape = client.meta.service_model.operation_model("CreateComponentVersion").input_shape
    recipe = json.dumps(build()).encode()
    assert len(recipe) < 16_000  # what the service takes inline, by its quotas
    assert not ParamValidator().validate({"inlineRecipe": recipe}, shape).has_errors()


def test_without_a_signature_or_wheels_the_recipe_asks_for_neither() -> None:
    for manifest in build(signed=False, wheels=False)["Manifests"]:
        assert len(manifest["Artifacts"]) == 1
        install = manifest["Lifecycle"]["install"]["Script"]
        assert "manifest.sig" not in install
        assert "--no-index" not in install
        assert "--require-hashes" in install


@pytest.mark.parametrize("step", ["install", "run"])
@pytest.mark.parametrize("signed", [True, False])
def test_the_scripts_are_posix_shell(step: str, signed: bool) -> None:
    for manifest in build(signed=signed)["Manifests"]:
        script = manifest["Lifecycle"][step]["Script"]
        for shell in (["sh", "-n"], ["bash", "--posix", "-n"]):
            subprocess.run(shell, input=script.encode(), check=True)


def test_a_device_with_another_python_is_told_so(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python3").chmod(0o755)
    script = build()["Manifests"][0]["Lifecycle"]["install"]["Script"]
    for variable in VARIABLES:
        script = script.replace(f"{{{variable}}}", str(tmp_path / "with space"))
    ended = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": str(programs)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: This component needs Python 3.11: install it so that python3.11 is on the PATH, "
        "and deploy again.\n"
    )
