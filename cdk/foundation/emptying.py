"""Empties an environment's buckets, so that ``cdk destroy`` can remove them.

    python -m cdk.foundation.emptying dev [--yes] [--endpoint-url URL]

CloudFormation removes a bucket only when it is empty, noncurrent versions and uploads that never
ended included. An environment that retains its data is refused: nobody empties prod by a slip of
the keyboard. Access logs still arrive for some hours after the last request; where the log bucket
alone is left behind, run both commands once more.

Leaves out: removing the stacks (``cdk destroy --all -c env=dev``). Why no custom resource does
this is said in buckets.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.cloud.session import Account, MissingError
from pipeline.local.errors import PipelineError
from pipeline.settings import Settings, SettingsError


class RetainedError(PipelineError):
    """The environment's data is not to be deleted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Empty the buckets that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cdk.foundation.emptying")
    parser.add_argument("environment", help="dev, or the path of a settings file")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--endpoint-url", help="of an emulated AWS")
    given = parser.parse_args(arguments)
    try:
        settings = Settings.load(given.environment)
        refuse_what_is_retained(settings, given.environment)
        if not (given.yes or _agreed(settings)):
            print("Nothing was deleted.")
            return 1
        account = Account(settings, given.endpoint_url)
        # the log bucket last: emptying the others is logged
        for name in (*settings.buckets.values(), settings.access_log_bucket):
            print(f"{name}: {empty(account, name)} versions deleted", flush=True)
    except (PipelineError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def refuse_what_is_retained(settings: Settings, where: str) -> None:
    """Raise for an environment whose data outlives its stacks.

    Raises:
        RetainedError: ``retain_data`` is true.
    """
    if settings.retain_data:
        raise RetainedError(
            f"{where}: the data of {settings.name} is retained (retain_data = true), so its "
            "buckets are not emptied: set retain_data = false and deploy that first."
        )


def empty(account: Account, bucket: str) -> int:
    """Delete every version, delete marker and unfinished upload of a bucket.

    Returns:
        The number of versions and markers; 0 also for a bucket that does not exist.

    Raises:
        CloudError: It was not done, or not wholly.
    """
    doing = f"empty {bucket}"
    deleted = 0
    try:
        for versions in _versions(account, bucket, doing):
            answer = account.call(
                "s3",
                "delete_objects",
                doing,
                Bucket=bucket,
                Delete={"Objects": versions, "Quiet": True},
            )
            _raise_for(answer.get("Errors", []), bucket)
            deleted += len(versions)
        for page in account.pages("s3", "list_multipart_uploads", doing, Bucket=bucket):
            for upload in page.get("Uploads", []):
                account.call(
                    "s3",
                    "abort_multipart_upload",
                    doing,
                    Bucket=bucket,
                    Key=upload["Key"],
                    UploadId=upload["UploadId"],
                )
    except MissingError:
        return deleted
    return deleted


def _versions(account: Account, bucket: str, doing: str) -> Iterator[list[dict[str, str]]]:
    """Keys and version ids, page by page; a page holds as many as one call deletes."""
    for page in account.pages("s3", "list_object_versions", doing, Bucket=bucket):
        found: list[dict[str, Any]] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if found:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]


def _raise_for(errors: list[dict[str, Any]], bucket: str) -> None:
    if errors:
        first = errors[0]
        raise PipelineError(
            f"{len(errors)} objects of {bucket} were not deleted, {first['Key']} because of "
            f"{first.get('Code', 'an unknown error')}: repeat the command."
        )


def _agreed(settings: Settings) -> bool:
    question = (
        f"Delete every version of every object in the buckets of {settings.name}, account "
        f"{settings.account}? Type {settings.environment} to go on: "
    )
    try:
        return input(question).strip() == settings.environment
    except EOFError:
        return False


if __name__ == "__main__":
    sys.exit(main())
