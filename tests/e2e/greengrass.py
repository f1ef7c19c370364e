"""AWS IoT Greengrass v2 for the emulator, which lacks it: the operations that ``slm fleet`` uses.

A WSGI application before moto's. It stands in moto's process, takes the groups and the artifacts
from moto, and holds every request and every answer to botocore's own model of the service. It
also carries out the topic rule that stores what devices publish. ::

    /greengrass/v2/...              the service, as botocore calls it
    /emulated/core/<thing>          GET: what a device is told to do; POST: how it went
    /topics/<topic>                 moto's; what the rule selects goes to its bucket as well

A group's deployment behaves as the job of AWS IoT that it is: it stays ACTIVE, tells as many
devices a minute as it may, is cancelled by its abort criteria, and makes the group's deployment
before it INACTIVE.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from botocore import xform_name
from botocore.validate import ParamValidator

ENDED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "CANCELED"})
WINDOW = 60.0  # seconds that a rate per minute looks back


class RefusedError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Execution:
    """One device's part in a deployment."""

    status: str = "QUEUED"
    reason: str = ""
    started: float = 0.0


@dataclass
class Deployment:
    """One deployment to a group."""

    id: str
    request: dict[str, Any]
    status: str = "ACTIVE"
    created: float = field(default_factory=time.time)
    executions: dict[str, Execution] = field(default_factory=dict)

    @property
    def group(self) -> str:
        return self.request["targetArn"].rpartition("/")[2]


class Greengrass:
    """The service's state, and its operations by botocore's names."""

    def __init__(self, account: str, region: str) -> None:
        self.account, self.region = account, region
        self.model = botocore.session.get_session().get_service_model("greengrassv2")
        self.lock = threading.RLock()
        self.reset()
        self.routes = [
            (name, self.model.operation_model(name).http, self._pattern(name))
            for name in self.model.operation_names
            if hasattr(self, xform_name(name))
        ]

    def reset(self) -> None:
        """Forget everything."""
        self.recipes: dict[str, dict[str, Any]] = {}
        self.deployments: list[Deployment] = []
        self.cores: dict[str, dict[str, Any]] = {}

    def _pattern(self, name: str) -> re.Pattern[str]:
        uri = self.model.operation_model(name).http["requestUri"]
        return re.compile(re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", uri.rstrip("/")) + "/?")

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON of a request in botocore's REST."""
        try:
            for name, http, pattern in self.routes:
                match = pattern.fullmatch(path)
                if match and http["method"] == method:
                    arguments = self._arguments(name, match.groupdict(), query, body)
                    with self.lock:
                        result = getattr(self, xform_name(name))(arguments)
                    return int(http.get("responseCode", 200)), self._checked(name, result)
            raise RefusedError(501, "NotImplemented", f"{method} {path} is not emulated")
        except RefusedError as refusal:
            return refusal.status, {"__type": refusal.code, "message": str(refusal)}

    def _arguments(self, name: str, uri: dict[str, str], query: str, body: bytes) -> dict[str, Any]:
        shape = self.model.operation_model(name).input_shape
        names = {m.serialization.get("name", k): k for k, m in shape.members.items()}
        given = {names.get(k, k): unquote(v) for k, v in uri.items()}
        for key, values in parse_qs(query).items():
            member = names.get(key, key)
            whole = shape.members[member].type_name == "integer"
            given[member] = int(values[0]) if whole else values[0]
        sent = json.loads(body or b"{}")
        for key, member in shape.members.items():
            if key in sent and member.type_name == "blob":
                sent[key] = base64.b64decode(sent[key])
        given |= sent
        report = ParamValidator().validate(given, shape)
        unknown = set(given) - set(shape.members)
        if report.has_errors() or unknown:
            raise RefusedError(400, "ValidationException", report.generate_report() or str(unknown))
        given.pop("clientToken", None)
        return given

    def _checked(self, name: str, result: dict[str, Any]) -> Any:
        shape = self.model.operation_model(name).output_shape
        report = ParamValidator().validate(result, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"
        assert set(result) <= set(shape.members), f"{name} answers nothing of {set(result)}"
        return json.loads(json.dumps(result, default=_plain))

    # Components ---------------------------------------------------------------------------

    def create_component_version(self, asked: dict[str, Any]) -> dict[str, Any]:
        recipe = json.loads(asked["inlineRecipe"])
        arn = self._component(recipe["ComponentName"], recipe["ComponentVersion"])
        if arn in self.recipes:
            raise RefusedError(409, "ConflictException", f"{arn} exists")
        for manifest in recipe["Manifests"]:
            for artifact in manifest["Artifacts"]:
                artifact |= {"Digest": self._digest(artifact["Uri"]), "Algorithm": "SHA-256"}
        self.recipes[arn] = recipe
        return {
            "arn": arn,
            "componentName": recipe["ComponentName"],
            "componentVersion": recipe["ComponentVersion"],
            "creationTimestamp": datetime.now(UTC),
            "status": {"componentState": "REQUESTED"},
        }

    def describe_component(self, asked: dict[str, Any]) -> dict[str, Any]:
        recipe = self._recipe(asked["arn"])
        return {
            "arn": asked["arn"],
            "componentName": recipe["ComponentName"],
            "componentVersion": recipe["ComponentVersion"],
            "status": {"componentState": "DEPLOYABLE"},
        }

    def get_component(self, asked: dict[str, Any]) -> dict[str, Any]:
        recipe = json.dumps(self._recipe(asked["arn"])).encode()
        return {"recipeOutputFormat": "JSON", "recipe": recipe}

    def list_component_versions(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [
            {"arn": key, "componentName": r["ComponentName"],
             "componentVersion": r["ComponentVersion"]}
            for key, r in self.recipes.items() if key.startswith(f"{asked['arn']}:versions:")
        ]  # fmt: skip
        return {"componentVersions": found[::-1]}

    # Deployments --------------------------------------------------------------------------

    def create_deployment(self, asked: dict[str, Any]) -> dict[str, Any]:
        new = Deployment(str(uuid.uuid4()), asked)
        self._things(new.group)
        for name, component in asked.get("components", {}).items():
            arn = self._component(name, component["componentVersion"])
            if not name.startswith("aws.") and arn not in self.recipes:
                raise RefusedError(404, "ResourceNotFoundException", f"{arn} does not exist")
        for old in self._of(new.request["targetArn"]):
            if old.status == "ACTIVE":
                old.status = "INACTIVE"
        self.deployments.append(new)
        self._enlist(new)
        return {"deploymentId": new.id, "iotJobId": new.id}

    def get_deployment(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self._deployment(asked["deploymentId"])
        kept = ("deploymentName", "components", "deploymentPolicies", "iotJobConfiguration")
        shown = {key: found.request[key] for key in kept if key in found.request}
        return {**self._summary(found), **shown, "iotJobId": found.id}

    def list_deployments(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = [self._summary(one) for one in reversed(self._of(asked.get("targetArn", "")))]
        if asked.get("historyFilter", "LATEST_ONLY") == "LATEST_ONLY":
            found = [one for one in found if one["isLatestForTarget"]]
        return {"deployments": found}

    def cancel_deployment(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._cancel(self._deployment(asked["deploymentId"]))
        return {"message": "canceled"}

    # Core devices -------------------------------------------------------------------------

    def list_core_devices(self, asked: dict[str, Any]) -> dict[str, Any]:
        group = asked.get("thingGroupArn", "").rpartition("/")[2]
        names = self._things(group) if group else list(self.cores)
        return {"coreDevices": [self._core(name) for name in names if name in self.cores]}

    def get_core_device(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._known(asked["coreDeviceThingName"])
        return self._core(asked["coreDeviceThingName"])

    def list_installed_components(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._known(asked["coreDeviceThingName"])
        return {"installedComponents": self.cores[asked["coreDeviceThingName"]]["components"]}

    def list_effective_deployments(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._known(asked["coreDeviceThingName"])
        found = []
        for one in reversed(self.deployments):
            execution = one.executions.get(asked["coreDeviceThingName"])
            if execution is not None:
                found.append({
                    "deploymentId": one.id,
                    "deploymentName": one.request.get("deploymentName", one.id),
                    "targetArn": one.request["targetArn"],
                    "coreDeviceExecutionStatus": execution.status,
                    "reason": execution.reason,
                    "creationTimestamp": datetime.fromtimestamp(one.created, UTC),
                    "modifiedTimestamp": datetime.now(UTC),
                })  # fmt: skip
        return {"effectiveDeployments": found}

    # What a nucleus asks and tells --------------------------------------------------------

    def work_of(self, thing: str) -> dict[str, Any] | None:
        """The recipes that a device is told to have; None where there is nothing new."""
        with self.lock:
            self.cores.setdefault(thing, {"status": "HEALTHY", "components": []})
            for one in self.deployments:
                if one.status == "ACTIVE" and thing in self._things(one.group):
                    one.executions.setdefault(thing, Execution())
            told = [one for one in self.deployments if thing in one.executions]
            if not told or told[-1].executions[thing].status != "QUEUED":
                return None
            newest = told[-1]
            rollout = newest.request["iotJobConfiguration"]["jobExecutionsRolloutConfig"]
            since = time.time() - WINDOW
            lately = sum(one.started > since for one in newest.executions.values())
            if newest.status != "ACTIVE" or lately >= rollout["maximumPerMinute"]:
                return None
            newest.executions[thing] = Execution("IN_PROGRESS", "", time.time())
            recipes = [
                self.recipes[self._component(name, one["componentVersion"])]
                for name, one in newest.request["components"].items()
                if not name.startswith("aws.")
            ]
            return {"deployment": newest.id, "recipes": recipes}

    def told_by(self, thing: str, report: dict[str, Any]) -> None:
        """How a device did, and what it has now."""
        with self.lock:
            components = [{**one, "isRoot": True} for one in report["components"]]
            self.cores[thing] = {"status": report["health"], "components": components}
            if "deployment" not in report:
                return
            done = self._deployment(report["deployment"])
            execution = done.executions[thing]
            execution.status, execution.reason = report["status"], report.get("reason", "")
            ended = [one for one in done.executions.values() if one.status in ENDED]
            failed = sum(one.status != "SUCCEEDED" for one in ended)
            for rule in done.request["iotJobConfiguration"]["abortConfig"]["criteriaList"]:
                share = 100 * failed / len(ended)
                if len(ended) >= rule["minNumberOfExecutedThings"] and (
                    share >= rule["thresholdPercentage"]
                ):
                    self._cancel(done)

    def _cancel(self, deployment: Deployment) -> None:
        deployment.status = "CANCELED"
        for one in deployment.executions.values():
            if one.status == "QUEUED":
                one.status = "CANCELED"

    def _enlist(self, deployment: Deployment) -> None:
        for thing in self._things(deployment.group):
            deployment.executions[thing] = Execution()

    def _of(self, target: str) -> list[Deployment]:
        return [d for d in self.deployments if not target or d.request["targetArn"] == target]

    def _summary(self, one: Deployment) -> dict[str, Any]:
        return {
            "targetArn": one.request["targetArn"],
            "deploymentId": one.id,
            "deploymentName": one.request.get("deploymentName", one.id),
            "deploymentStatus": one.status,
            "creationTimestamp": datetime.fromtimestamp(one.created, UTC),
            "isLatestForTarget": one is self._of(one.request["targetArn"])[-1],
        }

    def _core(self, thing: str) -> dict[str, Any]:
        return {
            "coreDeviceThingName": thing,
            "status": self.cores[thing]["status"],
            "lastStatusUpdateTimestamp": datetime.now(UTC),
        }

    def _known(self, thing: str) -> None:
        if thing not in self.cores:
            raise RefusedError(404, "ResourceNotFoundException", f"core device {thing} not found")

    def _deployment(self, identity: str) -> Deployment:
        for one in self.deployments:
            if one.id == identity:
                return one
        raise RefusedError(404, "ResourceNotFoundException", f"deployment {identity} not found")

    def _recipe(self, arn: str) -> dict[str, Any]:
        if arn not in self.recipes:
            raise RefusedError(404, "ResourceNotFoundException", f"{arn} does not exist")
        return self.recipes[arn]

    def _component(self, name: str, version: str) -> str:
        owner = f"arn:aws:greengrass:{self.region}:{self.account}"
        return f"{owner}:components:{name}:versions:{version}"

    def _things(self, group: str) -> list[str]:
        from moto.iot.models import iot_backends

        for one in iot_backends[self.account][self.region].thing_groups.values():
            if one.thing_group_name == group:
                return [thing.thing_name for thing in one.things.values()]
        raise RefusedError(404, "ResourceNotFoundException", f"thing group {group} does not exist")

    def _digest(self, uri: str) -> str:
        from moto.s3.models import s3_backends

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found = s3_backends[self.account]["aws"].buckets.get(bucket)
        if found is None or key not in found.keys:
            raise RefusedError(400, "ValidationException", f"{uri} cannot be read")
        return base64.b64encode(hashlib.sha256(found.keys[key].value).digest()).decode()


def _plain(value: Any) -> Any:
    """As botocore's REST has times and bytes in JSON."""
    return value.timestamp() if isinstance(value, datetime) else base64.b64encode(value).decode()


class Front:
    """Answers for Greengrass, carries out topic rules, and passes everything else on."""

    def __init__(self, application: Callable[..., Iterable[bytes]], service: Greengrass) -> None:
        self._application, self.service = application, service

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith("/moto-api/reset"):
            self.service.reset()
        if environ.get("QUERY_STRING") == "setAsActive=false":
            environ["QUERY_STRING"] = ""  # moto takes any word for yes
        if not path.startswith(("/greengrass/v2/", "/emulated/core/", "/topics/")):
            return self._application(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if path.startswith("/topics/"):
            from tests.e2e.topic_rules import carry_out

            carry_out(self.service.account, self.service.region, path[len("/topics/") :], body)
            status, result = 200, {}
        elif path.startswith("/emulated/core/"):
            thing, status, result = path.rpartition("/")[2], 200, None
            if method == "POST":
                self.service.told_by(thing, json.loads(body))
            else:
                result = self.service.work_of(thing)
        else:
            query = environ.get("QUERY_STRING", "")
            status, result = self.service.answer(method, path, query, body)
        content = json.dumps(result).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        if status >= 400:
            headers.append(("x-amzn-ErrorType", result["__type"]))
        start_response(f"{status} -", headers)
        return [content]
