"""The images of a commit: built once, pushed to the tooling environment, named by digest.

The tag is the commit, and no tag of ours can be moved: a commit that has been built is found again,
and its digest stands for the same bytes in every environment. What an environment was deployed with
is tagged ``in-<environment>-<commit>`` too, which keeps it from being cleared away.

Leaves out: building itself (containers/build.py).
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.cloud.session import Account, CloudError, MissingError
from pipeline.errors import UsageError
from pipeline.names import ImageName

ROOT = Path(__file__).resolve().parents[3]
IMAGES: tuple[ImageName, ...] = ("processing", "training")
COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(
    r"(?P<registry>[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)/"
    r"(?P<repository>[^@:]+)@(?P<digest>sha256:[0-9a-f]{64})"
)
_TOOL = "SLM_CONTAINER_TOOL"


def build_once(account: Account, commit: str, say: Callable[[str], None]) -> dict[ImageName, str]:
    """Each image of ``commit`` by digest; built and pushed unless the account has it.

    Raises:
        UsageError: ``commit`` is no commit's hash.
        CloudError: Something could not be built or pushed.
    """
    check_commit(commit)
    found: dict[ImageName, str] = {}
    for name in IMAGES:
        repository = account.settings.repository(name)
        digest = _digest(account, repository, commit)
        if digest is None:
            say(f"building {name}")
            _build(name, commit)
            _push(account, name, repository, commit)
            digest = _digest(account, repository, commit)
        if digest is None:
            raise CloudError(
                f"{repository} has no image {commit} after it was pushed: repeat the command."
            )
        found[name] = f"{registry(account)}/{repository}@{digest}"
        say(f"{name}: {found[name]}")
    return found


def keep(account: Account, uri: str, environment: str, commit: str) -> None:
    """Tag an image as what ``environment`` was deployed with; once is enough.

    Raises:
        UsageError: ``uri`` is no image of a registry in an account, by digest.
        CloudError: It is not there, or may not be tagged.
    """
    match = _DIGEST.fullmatch(uri)
    if match is None or match["registry"] != registry(account):
        raise UsageError(f"{uri!r} is no image by digest in {registry(account)}.")
    check_commit(commit)
    where = {
        "registryId": account.settings.account,
        "repositoryName": match["repository"],
    }
    tag = f"in-{environment}-{commit}"
    if _digest(account, match["repository"], tag) == match["digest"]:
        return
    answer = account.call(
        "ecr",
        "batch_get_image",
        f"find {uri}",
        imageIds=[{"imageDigest": match["digest"]}],
        **where,
    )
    images: list[dict[str, Any]] = answer["images"]
    if not images:
        raise CloudError(f"{uri} is not there: build the images of {commit} first.")
    account.call(
        "ecr",
        "put_image",
        f"tag {uri}",
        imageManifest=images[0]["imageManifest"],
        imageTag=tag,
        **where,
    )


def check_commit(commit: str) -> None:
    """Refuse what is no commit's hash, such as a branch, whose images would not stay the same.

    Raises:
        UsageError: It is none.
    """
    if not COMMIT.fullmatch(commit):
        raise UsageError(f"{commit!r} is no commit: give its whole hash, 40 digits of base 16.")


def registry(account: Account) -> str:
    """The host of the account's registry."""
    settings = account.settings
    suffix = ".cn" if settings.partition == "aws-cn" else ""
    return f"{settings.account}.dkr.ecr.{settings.region}.amazonaws.com{suffix}"


def _digest(account: Account, repository: str, tag: str) -> str | None:
    """Of the image with a tag; None if there is none.

    Raises:
        CloudError: The repository is missing, or may not be looked at.
    """
    try:
        answer = account.call(
            "ecr",
            "describe_images",
            f"look for {repository}:{tag}",
            registryId=account.settings.account,
            repositoryName=repository,
            imageIds=[{"imageTag": tag}],
        )
    except CloudError as error:
        if "(ImageNotFoundException)" in str(error):
            return None
        if "(RepositoryNotFoundException)" in str(error):
            raise MissingError(
                f"There is no repository {repository} in {account.place}: deploy the training "
                f"stack of {account.settings.environment} first."
            ) from None
        raise
    return str(answer["imageDetails"][0]["imageDigest"])


def _build(name: ImageName, commit: str) -> None:
    command = [sys.executable, str(ROOT / "containers" / "build.py"), name]
    _run(command, f"build the image {name}", environment={"SLM_COMMIT": commit})


def _push(account: Account, name: ImageName, repository: str, commit: str) -> None:
    tool = os.environ.get(_TOOL) or "docker"
    host = registry(account)
    answer = account.call("ecr", "get_authorization_token", f"log in to {host}")
    token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    user, _, password = token.partition(":")
    _run(
        [tool, "login", "--username", user, "--password-stdin", host],
        f"log in to {host}",
        said=password,
    )
    target = f"{host}/{repository}:{commit}"
    _run([tool, "tag", f"localhost/slm-edge/{name}:local", target], f"tag {target}")
    _run([tool, "push", target], f"push {target}")


def _run(
    command: list[str],
    doing: str,
    *,
    said: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end; ``said`` goes to its input, where no list of processes shows it.

    Raises:
        CloudError: It is missing or failed.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            input=said,
            text=True,
            check=False,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise CloudError(
            f"Could not {doing}: {command[0]} is not installed; {_TOOL} names another program."
        ) from None
    if done.returncode != 0:
        raise CloudError(
            f"Could not {doing}: {command[0]} ended with {done.returncode}, see above."
        )
