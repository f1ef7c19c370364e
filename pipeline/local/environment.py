"""The environment of a job: what SageMaker would set, and little of the user's own.

Passed on from the runner's environment: how to find programs and temporary space, how many
threads and which accelerator to use, Hugging Face's settings, certificates and proxies (a hub may
lie behind them), ``SLM_WHEELS``, ``SLM_LOGS`` and coverage's. ``AWS_*`` only where an endpoint is
given. Nothing else. Without an endpoint the laptop's key signs in place of the account's.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.local.describe import job_arn
from pipeline.local.signing import signing_key

_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT"),
    *("OMP_*", "MKL_*", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
    *("HF_*", "SLM_WHEELS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"),
)
_OF_THIS_MACHINE = (
    *("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH"),
    *("HF_HOME", "HF_*_CACHE", "SLM_WHEELS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "COVERAGE_*"),
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE"),
)
"""Paths that mean nothing in a container: passed on to processes only."""

_SIGNING_KEY = "SLM_SIGNING_KEY"


@dataclass(frozen=True)
class Surroundings:
    """What all jobs of an execution share."""

    home: Path
    source: Path
    execution_id: str
    commit: str
    endpoint_url: str | None

    @property
    def tracking_uri(self) -> str:
        """MLflow's database, beside the artifacts that it lists."""
        return f"sqlite:///{(self.home / 'mlflow.db').as_posix()}"


def job_environment(
    surroundings: Surroundings,
    kind: str,
    job: str,
    own: Mapping[str, str],
    ml_root: str,
    in_container: bool,
) -> dict[str, str]:
    """All variables of a job; those of the definition win over those passed on."""
    environment = {
        **_passed_on(surroundings.endpoint_url is not None, in_container),
        **own,
        "SLM_ML_ROOT": ml_root,
        "SLM_EXECUTION_ID": surroundings.execution_id,
        # lines for a person, also of an image that is made for an account
        "SLM_LOGS": os.environ.get("SLM_LOGS", "text"),
        "SLM_COMMIT": surroundings.commit,
        "PYTHONUNBUFFERED": "1",
        f"{kind.upper()}_JOB_NAME": job,
        f"{kind.upper()}_JOB_ARN": job_arn(kind, job),
    }
    if in_container:
        environment.setdefault("HOME", "/tmp")  # noqa: S108 - docker's user may have none
    else:
        environment["PYTHONPATH"] = str(surroundings.source)
    if surroundings.endpoint_url is None:
        environment["SLM_REGISTRY"] = "mlflow"
        environment["MLFLOW_TRACKING_URI"] = surroundings.tracking_uri
        if environment.get(_SIGNING_KEY):
            # the definition names the account's key, which only an account has
            environment[_SIGNING_KEY] = f"file:{signing_key(surroundings.home)}"
    else:
        environment["SLM_REGISTRY"] = "sagemaker"
        environment["AWS_ENDPOINT_URL"] = surroundings.endpoint_url
        environment["AWS_SDK_UA_APP_ID"] = job[:50]  # who asked, in the account's own records
        environment.setdefault("AWS_DEFAULT_REGION", environment.get("AWS_REGION", "us-east-1"))
        environment.setdefault("AWS_REGION", environment["AWS_DEFAULT_REGION"])
    return environment


def _passed_on(with_aws: bool, in_container: bool) -> dict[str, str]:
    patterns = (*_PASSED_ON, *(("AWS_*",) if with_aws else ()))
    left_out = _OF_THIS_MACHINE if in_container else ()
    return {
        name: value
        for name, value in os.environ.items()
        if _matches(name, patterns) and not _matches(name, left_out)
    }


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def commit_of(source: Path) -> str:
    """The commit of a checkout, ``-dirty`` when files differ from it; empty elsewhere."""
    if shutil.which("git") is None:
        return ""
    head = _git(source, "rev-parse", "HEAD")
    if not head:
        return ""
    return f"{head}-dirty" if _git(source, "status", "--porcelain") else head


def _git(source: Path, *words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(source), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
