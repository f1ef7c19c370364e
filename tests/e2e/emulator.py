"""An emulated AWS account at an address: moto's server, which also writes down every request.

``python -m tests.e2e.emulator PORT LOG`` serves until it is stopped. LOG gets one JSON object a
request: method, path, query, who asked (the job, by its user agent), the operation of a JSON
protocol and the names in it that a policy could be about, and what an upload says of its
encryption. Never a whole body: those hold data.
"""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

KEPT = {
    "HTTP_X_AMZ_TARGET": "target",
    "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION": "encryption",
    "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID": "kms_key",
    "REQUEST_METHOD": "method",
    "PATH_INFO": "path",
    "QUERY_STRING": "query",
}
NAMES = ("ModelPackageGroupName", "ModelPackageName", "ModelPackageArn", "CompilationJobName")
JOB = re.compile(r"\bapp/(\S+)")  # AWS_SDK_UA_APP_ID, which the runner gives every job
SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")


class Recorder:
    """A WSGI application that writes a line about each request and passes it on."""

    def __init__(self, application: Callable[..., Iterable[bytes]], log: Path) -> None:
        self._application = application
        self._log = log
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        entry = {name: environ[key] for key, name in KEPT.items() if environ.get(key)}
        job = JOB.search(environ.get("HTTP_USER_AGENT", ""))
        entry["job"] = job[1] if job else ""
        service = SERVICE.search(environ.get("HTTP_AUTHORIZATION", ""))
        entry["service"] = service[1] if service else ""
        if "target" in entry:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            request = json.loads(body or b"{}")
            entry |= {name: request[name] for name in NAMES if name in request}
        with self._lock, self._log.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return self._application(environ, start_response)


def mend() -> None:
    """Mend what keeps moto's CloudFormation from making our resources (moto 5.2.5)."""
    from moto.cloudformation.models import CloudFormationBackend
    from moto.kms.models import Key
    from moto.kms.utils import generate_private_key

    from tests.moto_server import sign_digests_as_they_are

    sign_digests_as_they_are()
    make = Key.create_from_cloudformation_json

    def make_as_the_api(name: str, template: Any, *arguments: Any, **options: Any) -> Any:
        """A template has tags and policy in other forms than KMS's own API, and may ask for a key
        that signs; moto makes all of them for encryption."""
        own = dict(template["Properties"])
        own["Tags"] = [{"TagKey": t["Key"], "TagValue": t["Value"]} for t in own.get("Tags", [])]
        own["KeyPolicy"] = json.dumps(own["KeyPolicy"])
        key = make(name, {**template, "Properties": own}, *arguments, **options)
        if spec := own.get("KeySpec"):
            key.key_usage, key.key_spec = own["KeyUsage"], spec
            key.private_key = generate_private_key(spec)
        return key

    Key.create_from_cloudformation_json = make_as_the_api  # type: ignore[method-assign]
    resolve = CloudFormationBackend._resolve_update_parameters

    def resolve_what_is_known(
        backend: Any, instance: Any, incoming_params: list[dict[str, Any]]
    ) -> dict[str, str]:
        """The value before, where a parameter never had another than its default, is that."""
        known = [
            parameter
            for parameter in incoming_params
            if "ParameterValue" in parameter or parameter["ParameterKey"] in instance.parameters
        ]
        return resolve(backend, instance, known)

    CloudFormationBackend._resolve_update_parameters = resolve_what_is_known  # type: ignore[method-assign]


def serve(port: int, log: Path) -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import run_simple

    mend()
    application = Recorder(DomainDispatcherApplication(create_backend_app), log)
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
