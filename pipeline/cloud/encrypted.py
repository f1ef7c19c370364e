"""Objects in the project's buckets, encrypted with the project's key.

The buckets refuse an upload that names no key, or another one, and an alias is another one: the
key's own ARN is asked of KMS. Every call names the account that has to own the bucket, so that a
bucket of the same name elsewhere never receives anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.cloud.session import Account, MissingError

_HASH = "sha256"


class Bucket:
    """One of the project's buckets."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self.name = name
        self._key_arn: str | None = None

    @property
    def key_arn(self) -> str:
        """The ARN of the project's key itself, asked for once.

        Raises:
            CloudError: There is no such key, or it may not be looked at.
        """
        if self._key_arn is None:
            alias = self._account.settings.kms_key_arn
            try:
                answer = self._account.call(
                    "kms", "describe_key", f"find the key {alias}", KeyId=alias
                )
            except MissingError:
                settings = self._account.settings
                raise MissingError(
                    f"There is no key {alias}: check --env, or deploy it with cdk deploy --all "
                    f"-c env={settings.environment}."
                ) from None
            self._key_arn = str(answer["KeyMetadata"]["Arn"])
        return self._key_arn

    def upload(self, file: Path, key: str, sha256: str) -> bool:
        """Put ``file`` at ``key`` unless it is there; returns whether it was uploaded.

        Raises:
            CloudError: It was refused.
        """
        if self.hash_of(key) == sha256:
            return False
        with self._account.errors(f"upload {self.address(key)}"):
            self._account.client("s3").upload_file(
                str(file),
                self.name,
                key,
                ExtraArgs={**self._arguments(), "Metadata": {_HASH: sha256}},
            )
        return True

    def write(self, key: str, content: bytes, content_type: str) -> None:
        """Put ``content`` at ``key``.

        Raises:
            CloudError: It was refused.
        """
        self._call(
            "put_object",
            f"upload {self.address(key)}",
            Key=key,
            Body=content,
            ContentType=content_type,
            **self._encryption(),
        )

    def replace(self, key: str, content: bytes, content_type: str, tag: str | None) -> str:
        """Put ``content`` at ``key`` if what is there is still what had ``tag``.

        Args:
            tag: As :meth:`read_tagged` gave it; None if nothing may be there.

        Returns:
            The tag of what is there now.

        Raises:
            ConflictError: Something else is there.
            CloudError: It was refused.
        """
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        answer = self._call(
            "put_object",
            f"write {self.address(key)}",
            Key=key,
            Body=content,
            ContentType=content_type,
            **condition,
            **self._encryption(),
        )
        return str(answer["ETag"])

    def read(self, key: str) -> bytes | None:
        """The content at ``key``; None if there is none.

        Raises:
            CloudError: The bucket is missing, or reading was refused.
        """
        return self.read_tagged(key)[0]

    def read_tagged(self, key: str) -> tuple[bytes | None, str | None]:
        """The content at ``key`` and its tag for :meth:`replace`; None and None if there is none.

        Raises:
            CloudError: The bucket is missing, or reading was refused.
        """
        try:
            answer = self._call("get_object", f"read {self.address(key)}", Key=key)
        except MissingError:
            self.check()
            return None, None
        with self._account.errors(f"read {self.address(key)}"):
            content: bytes = answer["Body"].read()
            return content, str(answer["ETag"])

    def hash_of(self, key: str) -> str | None:
        """The SHA-256 that the object at ``key`` was uploaded with; None if there is none."""
        try:
            answer = self._call("head_object", f"look for {self.address(key)}", Key=key)
        except MissingError:
            return None
        found: dict[str, str] = answer.get("Metadata", {})
        return found.get(_HASH, "unknown")

    def check(self) -> None:
        """Refuse a bucket that is not there.

        Raises:
            CloudError: With what to do.
        """
        try:
            self._call("head_bucket", f"look for the bucket {self.name}")
        except MissingError:
            settings = self._account.settings
            raise MissingError(
                f"There is no bucket {self.name} in {self._account.place}: check --env, or deploy "
                f"it with cdk deploy --all -c env={settings.environment}."
            ) from None

    def address(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def _encryption(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.key_arn}

    def _arguments(self) -> dict[str, str]:
        return {**self._encryption(), "ExpectedBucketOwner": self._account.settings.account}

    def _call(self, operation: str, doing: str, **arguments: Any) -> dict[str, Any]:
        return self._account.call(
            "s3",
            operation,
            doing,
            Bucket=self.name,
            ExpectedBucketOwner=self._account.settings.account,
            **arguments,
        )
