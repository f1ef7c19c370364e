"""``slm check``: what can be known before a deployment, each problem with what to do."""

from __future__ import annotations

import pytest

from pipeline.cloud.checking import BOOTSTRAP
from pipeline.cloud.session import Account, DeniedError
from tests.pipeline.cloud.emulated import REGION, Emulated
from tests.pipeline.cloud.stub import Answer, Stub, ok, refused, serve


@pytest.fixture
def ready(emulated: Emulated) -> Emulated:
    """An account that is bootstrapped, and settings with a real recipient."""
    emulated.client("ssm").put_parameter(Name=BOOTSTRAP, Value="30", Type="String")
    emulated.file.write_text(emulated.file.read_text().replace("example.com", "slm-edge.dev"))
    return emulated


def test_an_account_that_is_ready_says_what_to_do_next(ready: Emulated):
    done = ready.slm("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"next     cdk deploy --all -c settings={ready.file}" in done.stdout
    assert "no " not in [line[:3] for line in done.stdout.splitlines()]


def test_buckets_of_an_earlier_deployment_are_ours(ready: Emulated, slm):
    for bucket in ready.settings.buckets.values():
        ready.client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    assert slm("check", *ready.options).exit_code == 0


def test_a_bucket_name_that_another_account_has_is_said_before_the_deployment(
    ready: Emulated, slm, monkeypatch: pytest.MonkeyPatch
):
    call = Account.call

    def as_s3_answers(account: Account, service: str, operation: str, doing: str, **options: str):
        """For a bucket of somebody else's; moto knows no owners."""
        if options.get("Bucket") == ready.settings.raw_bucket:
            assert options["ExpectedBucketOwner"] == ready.settings.account
            raise DeniedError("Forbidden")
        return call(account, service, operation, doing, **options)

    monkeypatch.setattr(Account, "call", as_s3_answers)
    done = slm("check", *ready.options)
    assert done.exit_code == 1
    assert f"The bucket name {ready.settings.raw_bucket} is taken by another account" in done.stdout
    assert f"yes  bucket {ready.settings.model_bucket} is ours or free" in done.stdout


def test_every_problem_is_named_with_what_to_do(emulated: Emulated, slm):
    emulated.file.write_text(emulated.file.read_text().replace("123456789012", "444444444444"))
    done = slm("check", *emulated.options)
    assert done.exit_code == 1
    assert "The login is for account 123456789012" in done.stdout
    assert "nobody@example.com is a placeholder" in done.stdout
    assert "run cdk bootstrap aws://444444444444/eu-west-1." in done.stdout
    assert "next" not in done.stdout


def test_without_a_login_it_says_how_to_log_in(emulated: Emulated):
    done = emulated.slm("check", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "log in" in done.stderr


# The connection to the source -------------------------------------------------------------

CONNECTION = (
    "arn:aws:codeconnections:eu-west-1:123456789012:connection/11111111-2222-3333-4444-555555555555"
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok(Connection={"ConnectionStatus": "AVAILABLE"}), ""),
        (ok(Connection={"ConnectionStatus": "PENDING"}), "press Update pending connection"),
        (ok(Connection={"ConnectionStatus": "ERROR"}), "The connection is ERROR"),
        (refused("ResourceNotFoundException", "no such connection"), "There is no connection"),
        (refused("AccessDeniedException", "no"), "the caller may not call GetConnection"),
    ],
)
def test_a_connection_that_nobody_has_confirmed_is_said_with_what_to_do(
    ready: Emulated, slm, monkeypatch: pytest.MonkeyPatch, answer: Answer, said: str
):
    section = f'[delivery]\nconnection = "{CONNECTION}"\nrepository = "example/slm-edge"\n'
    ready.file.write_text(ready.file.read_text() + section)
    with serve(Stub(GetConnection=[answer])) as stub:
        call = Account.client

        def client(account: Account, service: str):
            """The emulator has no CodeConnections: the stub answers for it."""
            if service != "codeconnections":
                return call(account, service)
            return call(Account(account.settings, stub.address), service)

        monkeypatch.setattr(Account, "client", client)
        done = slm("check", *ready.options)
    assert done.exit_code == (1 if said else 0), done.output
    line = "the connection to example/slm-edge is confirmed"
    assert f"{'no ' if said else 'yes'}  {line}" in done.stdout
    assert said in done.stdout
    [asked] = stub.asked
    assert asked == ("GetConnection", {"ConnectionArn": CONNECTION})
