"""What AWS refuses, as one sentence: said by a service over HTTP, or for want of one."""

# ruff: noqa: E501 - a table of cases, a case a line
from __future__ import annotations

import pytest

from pipeline.cloud import deployed
from pipeline.cloud.session import (
    Account,
    CloudError,
    CredentialsError,
    DeniedError,
    MissingError,
    ThrottledError,
)
from pipeline.settings import Settings
from tests.pipeline.cloud.emulated import SETTINGS, Emulated, environment
from tests.pipeline.cloud.stub import Answer, Stub, refused, serve

DENIED = "User: arn:aws:sts::1:assumed-role/scientist/me is not authorized to perform: {} on resource: x{}"


@pytest.fixture
def settings(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment(AWS_MAX_ATTEMPTS="1").items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return Settings.read(path)


def describe(account: Account) -> None:
    account.call("sagemaker", "describe_pipeline", "read the pipeline", PipelineName="p")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refused("ExpiredTokenException"), CredentialsError, "the credentials have expired; log in (aws sso login"),
        (refused("UnrecognizedClientException"), CredentialsError, "AWS does not know these credentials (UnrecognizedClientException)"),
        (refused("AccessDeniedException", DENIED.format("kms:Decrypt", "")), DeniedError, "arn:aws:sts::1:assumed-role/scientist/me may not call kms:Decrypt; log in"),
        (refused("AccessDeniedException", DENIED.format("sagemaker:CreateTrainingJob", " with an explicit deny in an identity-based policy")), DeniedError, "sagemaker:CreateTrainingJob is denied to arn:aws:sts::1:assumed-role/scientist/me by an explicit deny; the month's budget may be used up"),
        (refused("AccessDeniedException", "no"), DeniedError, "the caller may not call sagemaker:DescribePipeline"),
        (refused("ThrottlingException"), ThrottledError, "AWS is throttling DescribePipeline; wait a minute"),
        (refused("ResourceNotFound", "Pipeline p does not exist."), MissingError, "Pipeline p does not exist, in account 123456789012 (eu-west-1)."),
        (refused("ValidationException", "Could not find it"), MissingError, "Could not find it, in account"),
        (refused("ValidationException", "Too long."), CloudError, "Could not read the pipeline: Too long (ValidationException)."),
        (refused("InternalFailure", status=503), ThrottledError, "the service failed (InternalFailure); repeat"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence(settings: Settings, answer: Answer, kind: type, said: str):
    with serve(Stub(DescribePipeline=[answer])) as stub, pytest.raises(CloudError) as raised:
        describe(Account(settings, stub.address))
    assert type(raised.value) is kind
    sentence = str(raised.value)
    assert sentence.startswith("Could not read the pipeline: ")
    assert said in sentence
    assert sentence.endswith(".")


def test_an_emulator_that_lacks_an_operation_is_not_asked_for_ever(emulated: Emulated, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    account = Account(emulated.settings, emulated.address)
    with pytest.raises(CloudError, match=r"may not know ListPipelineExecutionSteps\.") as raised:
        deployed.steps(account, f"{account.settings.pipeline_arn}/execution/abcdefghijkl")
    assert type(raised.value) is CloudError


def test_an_address_where_nobody_answers_is_named(settings: Settings):
    with pytest.raises(ThrottledError, match=r"http://127.0.0.1:9 does not answer"):
        describe(Account(settings, "http://127.0.0.1:9"))


def test_a_profile_that_does_not_exist_is_about_credentials(settings: Settings, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(CredentialsError, match=r"profile \(nobody\) could not be found; log in"):
        describe(Account(settings, "http://127.0.0.1:9"))


def test_half_credentials_are_about_credentials(settings: Settings, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match=r"log in \(aws sso login"):
        describe(Account(settings, "http://127.0.0.1:9"))


def test_a_request_that_boto3_itself_refuses_is_one_sentence(settings: Settings):
    with pytest.raises(CloudError, match=r"Could not do it: Parameter validation failed"):
        Account(settings).call("sagemaker", "describe_pipeline", "do it", Nonsense=1)


def test_a_transfer_that_is_denied_names_the_action(settings: Settings, tmp_path):
    """S3 answers in XML; boto3 wraps what it answers in an error of its own."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    account = Account(settings, f"http://127.0.0.1:{server.server_address[1]}")
    file = tmp_path / "file"
    file.write_text("content")
    try:
        with pytest.raises(DeniedError, match="may not call s3:PutObject"), account.errors("put"):
            account.client("s3").upload_file(str(file), "bucket-of-mine", "key")
    finally:
        server.shutdown()
        server.server_close()


def test_a_transfer_that_fails_otherwise_is_one_sentence(settings: Settings):
    from boto3.exceptions import S3UploadFailedError

    with (
        pytest.raises(CloudError, match=r"Could not put: broken\."),
        Account(settings).errors("put"),
    ):
        raise S3UploadFailedError("broken")
