"""The emulated account, with executions that have steps and that take a while."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.cloud.session import Account
from tests.e2e.greengrass import Front, Greengrass
from tests.pipeline.cloud.emulated import ACCOUNT, REGION, Emulated, definition
from tests.pipeline.cloud.fleet.conftest import cloud  # noqa: F401 - a fixture
from tests.pipeline.cloud.promotion.promotable import account_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Executions:
    """What the emulator lacks: the steps of an execution, and a status before it has ended."""

    application: Callable[..., Iterable[bytes]]
    steps: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    """What an execution is before it is what the emulator says: a look each."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "")
        if operation == "SageMaker.ListPipelineExecutionSteps":
            return self._answer({"PipelineExecutionSteps": self.steps}, start_response)
        if operation == "SageMaker.DescribePipelineExecution" and self.statuses:
            asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            arn, status = asked["PipelineExecutionArn"], self.statuses.pop(0)
            answer = {"PipelineExecutionArn": arn, "PipelineExecutionStatus": status}
            return self._answer(answer, start_response)
        return self.application(environ, start_response)

    @staticmethod
    def _answer(content: dict[str, Any], start_response: Any) -> list[bytes]:
        body = json.dumps(content).encode()
        kind = ("Content-Type", "application/x-amz-json-1.1")
        start_response("200 OK", [kind, ("Content-Length", str(len(body)))])
        return [body]

    def succeeded(self, *names: str, **origins: str) -> None:
        """Steps that succeeded; ``origins`` are executions whose result the cache gave."""
        root = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/slm-edge-dev/execution"
        self.steps = [
            {
                "StepName": name,
                "StepStatus": "Succeeded",
                "StartTime": 1_790_000_000,
                "EndTime": 1_790_000_060,
                **(
                    {"CacheHitResult": {"SourcePipelineExecutionArn": f"{root}/{origins[name]}"}}
                    if name in origins
                    else {}
                ),
            }
            for name in (*names, *origins)
        ]


@pytest.fixture(scope="module")
def _server() -> Iterator[tuple[str, Greengrass, Executions]]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    service = Greengrass(ACCOUNT, REGION)
    moto = DomainDispatcherApplication(create_backend_app)
    executions = Executions(Front(moto, service))
    server = make_server("127.0.0.1", 0, executions, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", service, executions
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def served(_server: tuple[str, Greengrass, Executions]) -> tuple[str, Greengrass]:
    return _server[0], _server[1]


@pytest.fixture
def account(cloud: Emulated) -> Account:  # noqa: F811 - the fixture
    return account_of(cloud)


@pytest.fixture
def executions(
    _server: tuple[str, Greengrass, Executions],
    cloud: Emulated,  # noqa: F811
) -> Executions:
    """The account's pipeline, with the parameter that names the data."""
    found = _server[2]
    found.steps, found.statuses = [], []
    deployed = definition()
    where = {"Name": "InputData", "Type": "String", "DefaultValue": "s3://somewhere/by-default"}
    deployed["Parameters"].append(where)
    cloud.client("sagemaker").create_pipeline(
        PipelineName=cloud.settings.pipeline_name,
        PipelineDefinition=json.dumps(deployed),
        ClientRequestToken="0" * 32,
        RoleArn=cloud.settings.role_arn("pipeline"),
    )
    return found
