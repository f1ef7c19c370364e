"""Clients of one account and region, and what AWS refuses as one sentence.

Every call goes through :class:`Account`, so that a missing login, a denied action, a missing
resource and throttling read the same in every command.

CloudError              AWS was asked and did not do it (exit code 1)
├── CredentialsError    there are no credentials, or they are over
├── DeniedError         the caller may not; names the action
├── MissingError        what was asked for does not exist
├── ConflictError       somebody else was faster
└── ThrottledError      too many requests, or a fault that passes: ask again later
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.settings import Settings

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_KEY = frozenset({
    "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "AuthFailure", "InvalidSignatureException", "InvalidToken",
})  # fmt: skip
_DENIED = frozenset({
    "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AllAccessDisabled", "403",
})  # fmt: skip
_THROTTLED = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException",
    "RequestLimitExceeded", "SlowDown", "RequestThrottled", "RequestThrottledException", "429",
})  # fmt: skip
_MISSING = frozenset({
    "ResourceNotFound", "ResourceNotFoundException", "NotFoundException", "NoSuchKey",
    "NoSuchBucket", "NoSuchEntity", "ParameterNotFound", "StateMachineDoesNotExist", "404",
})  # fmt: skip
_CONFLICT = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_MISSING_WORDS = re.compile(r"does not exist|not found|could not find", re.IGNORECASE)
_LOGIN = "log in (aws sso login, or set AWS_PROFILE) and repeat the command"
_ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "monitoring:PutMetricData": "cloudwatch:PutMetricData",
}
"""Operations whose action in IAM has another name."""


class CloudError(PipelineError):
    """AWS was asked for something and did not do it."""


class CredentialsError(CloudError):
    """Nobody is logged in, or no longer."""


class DeniedError(CloudError):
    """The caller is not allowed to; the sentence names the action."""


class MissingError(CloudError):
    """What was asked for does not exist."""


class ConflictError(CloudError):
    """What was to be changed has been changed by somebody else since it was read."""


class ThrottledError(CloudError):
    """A refusal that passes: throttling, a fault of the service, a connection that broke."""


class Account:
    """The account and region of some settings, at an endpoint of one's own if there is one."""

    def __init__(
        self, settings: Settings, endpoint_url: str | None = None, session: Any = None
    ) -> None:
        """``session`` is a boto3 session of one's own; else that of the environment."""
        self.settings = settings
        self.endpoint_url = endpoint_url
        self._session: Any = session
        self._clients: dict[str, Any] = {}

    @property
    def place(self) -> str:
        """``account 111111111111 (eu-west-1)``, for sentences."""
        return f"account {self.settings.account} ({self.settings.region})"

    def client(self, service: str) -> Any:
        """The boto3 client of a service, made once.

        Its retries are adaptive: the client itself slows down when it is throttled.
        AWS_MAX_ATTEMPTS says how often it tries.
        """
        if service not in self._clients:
            config = _import("botocore.config")
            if self._session is None:
                self._session = _import("boto3").Session()
            options: dict[str, Any] = {
                "retries": {"mode": "adaptive"},
                "connect_timeout": 10,
            }
            if self.endpoint_url:  # an emulator rarely answers for one host name per bucket
                options["s3"] = {"addressing_style": "path"}
            self._clients[service] = self._session.client(
                service,
                region_name=self.settings.region,
                endpoint_url=self.endpoint_url,
                config=config.Config(**options),
            )
        return self._clients[service]

    def call(self, service: str, operation: str, doing: str, **arguments: Any) -> dict[str, Any]:
        """Call ``operation`` (boto3's name of it) and return its answer.

        Args:
            doing: What it is for, after "Could not", as in ``start the pipeline``.

        Raises:
            CloudError: It was not done.
        """
        with self.errors(doing):
            answer: dict[str, Any] = getattr(self.client(service), operation)(**arguments)
            return answer

    def pages(
        self, service: str, operation: str, doing: str, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        """The answers of an operation that has many, page by page.

        Raises:
            CloudError: It was not done.
        """
        with self.errors(doing):
            yield from self.client(service).get_paginator(operation).paginate(**arguments)

    @contextmanager
    def errors(self, doing: str) -> Generator[None]:
        """Turn what boto3 raises into one sentence.

        Raises:
            CloudError: In place of boto3's own.
        """
        exceptions, boto3_exceptions = _import("botocore.exceptions"), _import("boto3.exceptions")
        try:
            yield
        except exceptions.ClientError as error:
            raise self._refusal(error, doing) from None
        except boto3_exceptions.Boto3Error as error:
            # a transfer wraps the refusal of one of its calls
            cause = error.__cause__ or error.__context__
            if isinstance(cause, exceptions.ClientError):
                raise self._refusal(cause, doing) from None
            raise CloudError(f"Could not {doing}: {error}.") from None
        except exceptions.BotoCoreError as error:
            raise self._fault(error, doing, exceptions) from None

    def _refusal(self, error: Any, doing: str) -> CloudError:
        """What the service answered, as a sentence."""
        answer: dict[str, Any] = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        message = str(answer.get("Error", {}).get("Message", "") or code).strip().rstrip(".")
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _EXPIRED:
            return CredentialsError(f"Could not {doing}: the credentials have expired; {_LOGIN}.")
        if code in _UNKNOWN_KEY:
            return CredentialsError(
                f"Could not {doing}: AWS does not know these credentials ({code}); {_LOGIN}."
            )
        if code in _DENIED:
            return DeniedError(_denied(self._action(error.operation_name, message), message, doing))
        if code in _THROTTLED:
            return ThrottledError(
                f"Could not {doing}: AWS is throttling {error.operation_name}; wait a minute "
                "and repeat the command."
            )
        if code in _CONFLICT:
            return ConflictError(f"Could not {doing}: somebody else changed it meanwhile.")
        if code in _MISSING or (code.startswith("Validation") and _MISSING_WORDS.search(message)):
            return MissingError(f"Could not {doing}: {message}, in {self.place}.")
        if self.endpoint_url and code.isdecimal():  # a page of the server, no answer of AWS's
            return CloudError(
                f"Could not {doing}: {self.endpoint_url} failed ({code}); it may not know "
                f"{error.operation_name}."
            )
        if status >= 500:
            return ThrottledError(
                f"Could not {doing}: the service failed ({code or status}); repeat the command."
            )
        return CloudError(f"Could not {doing}: {message} ({code}).")

    def _action(self, operation: str, message: str) -> str:
        """The IAM action that was denied, as AWS says it, or of the operation's name."""
        told = re.search(r"not authorized to perform: ([a-z0-9-]+:\w+)", message)
        if told:
            return told[1]
        for client in self._clients.values():
            model = client.meta.service_model
            if operation in model.operation_names:
                action = f"{model.signing_name}:{operation}"
                return _ACTIONS.get(action, action)
        return operation

    def _fault(self, error: Exception, doing: str, exceptions: Any) -> CloudError:
        """What kept boto3 from getting an answer, as a sentence."""
        logins = (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ProfileNotFound,
            exceptions.NoAuthTokenError,
            exceptions.TokenRetrievalError,
            exceptions.SSOError,
            exceptions.LoginError,
        )
        if isinstance(error, exceptions.NoCredentialsError):
            return CredentialsError(f"Could not {doing}: there are no credentials; {_LOGIN}.")
        if isinstance(error, logins):
            return CredentialsError(f"Could not {doing}: {str(error).rstrip('.')}; {_LOGIN}.")
        if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
            where = self.endpoint_url or f"AWS in {self.settings.region}"
            return ThrottledError(
                f"Could not {doing}: {where} does not answer ({type(error).__name__}); check the "
                "network and --endpoint-url, and repeat the command."
            )
        return CloudError(f"Could not {doing}: {str(error).rstrip('.')}.")


def _denied(action: str, message: str, doing: str) -> str:
    who = re.search(r"(?:User|Role): (\S+) is not authorized", message)
    caller = who[1] if who else "the caller"
    if "explicit deny" in message:
        return (
            f"Could not {doing}: {action} is denied to {caller} by an explicit deny; the month's "
            "budget may be used up (docs/deployment.md has the way back), or a policy forbids it."
        )
    return (
        f"Could not {doing}: {caller} may not call {action}; log in with a permission set that "
        "allows it, or ask whoever manages them."
    )


def _import(name: str) -> Any:
    # boto3's types describe thousands of services; the commands that need none start without it
    return importlib.import_module(name)
