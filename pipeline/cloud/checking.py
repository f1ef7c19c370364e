"""What can be known before ``cdk deploy``: login, bootstrap, bucket names, placeholders, and
whether the connection to the source is confirmed.

Reads only. Leaves out: what CloudFormation alone can know, such as quotas.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.cloud.session import Account, CloudError, DeniedError, MissingError

BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    problem: str = ""
    """A sentence, with what to do; empty where all is well."""


def checks(account: Account) -> Iterator[Check]:
    """Look at the account, one check after the other; the first problem may explain the others.

    Raises:
        CredentialsError: Nobody is logged in.
    """
    yield _login(account)
    yield _recipients(account)
    yield _bootstrap(account)
    for bucket in (*account.settings.buckets.values(), account.settings.access_log_bucket):
        yield _bucket(account, bucket)
    if account.settings.delivery.connection:
        yield _connection(account)


def _login(account: Account) -> Check:
    what = f"logged in to {account.place}"
    found = account.call("sts", "get_caller_identity", "find out who is logged in")["Account"]
    if found == account.settings.account:
        return Check(what)
    return Check(
        what,
        f"The login is for account {found}, but the settings name {account.settings.account}: "
        "log in to that one, or correct account in the settings.",
    )


def _recipients(account: Account) -> Check:
    recipients = account.settings.budget.recipients
    placeholders = [one for one in recipients if one.endswith(("@example.com", ".example"))]
    what = f"mails go to {', '.join(recipients)}"
    if not placeholders:
        return Check(what)
    return Check(
        what,
        f"{placeholders[0]} is a placeholder: put a real address into budget.recipients, or "
        "nobody hears of costs and failures.",
    )


def _bootstrap(account: Account) -> Check:
    what = "bootstrapped for the CDK"
    settings = account.settings
    try:
        account.call("ssm", "get_parameter", "look for the CDK's bootstrap", Name=BOOTSTRAP)
    except MissingError:
        return Check(
            what,
            f"{account.place} is not bootstrapped: run cdk bootstrap "
            f"aws://{settings.account}/{settings.region}.",
        )
    except CloudError as error:
        return Check(what, str(error))
    return Check(what)


def _bucket(account: Account, name: str) -> Check:
    what = f"bucket {name} is ours or free"
    try:
        account.call(
            "s3", "head_bucket", f"look for the bucket {name}",
            Bucket=name, ExpectedBucketOwner=account.settings.account,
        )  # fmt: skip
    except MissingError:
        return Check(what)
    except DeniedError:
        return Check(
            what,
            f"The bucket name {name} is taken by another account, or the login may not look at it: "
            "bucket names are one for the whole world, so check account and region in the "
            "settings.",
        )
    except CloudError as error:
        return Check(what, str(error))
    return Check(what)


def _connection(account: Account) -> Check:
    """Whether a person has confirmed the connection to the source; until then nothing starts."""
    delivery, region = account.settings.delivery, account.settings.region
    what = f"the connection to {delivery.repository} is confirmed"
    where = f"https://{region}.console.aws.amazon.com/codesuite/settings/connections"
    service = delivery.connection.split(":")[2]
    try:
        answer = account.call(
            service,
            "get_connection",
            "look for the connection to the source",
            ConnectionArn=delivery.connection,
        )
    except MissingError:
        return Check(
            what,
            f"There is no connection {delivery.connection}: make one at {where} and put its ARN "
            "into delivery.connection.",
        )
    except CloudError as error:
        return Check(what, str(error))
    status = answer["Connection"]["ConnectionStatus"]
    if status == "AVAILABLE":
        return Check(what)
    if status == "PENDING":
        return Check(
            what,
            f"The connection is PENDING, and the delivery pipeline starts nothing: open {where}, "
            "choose it, press Update pending connection and let the provider know this account.",
        )
    return Check(
        what,
        f"The connection is {status}, and the delivery pipeline cannot fetch the source: make it "
        f"anew at {where} and put its ARN into delivery.connection.",
    )
