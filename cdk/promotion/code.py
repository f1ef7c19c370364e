"""The function's code: the part of ``pipeline`` that promotes, and nothing beside it.

Lambda's Python has boto3 and the standard library; these files need no more, and a test runs them
where there is no more. The archive's hash is that of the files, so that a changed document or test
deploys nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HANDLER = "pipeline.cloud.promotion.handler.handler"
FILES = (
    "pipeline/__init__.py",
    "pipeline/errors.py",
    "pipeline/cloud/__init__.py",
    "pipeline/cloud/encrypted.py",
    "pipeline/cloud/session.py",
    *(
        f"pipeline/cloud/fleet/{name}.py"
        for name in (
            "__init__",
            "deployments",
            "files",
            "following",
            "packages",
            "provisioning",
            "releasing",
        )
    ),
    *(
        f"pipeline/cloud/promotion/{name}.py"
        for name in (
            "__init__",
            "artifacts",
            "copying",
            "handler",
            "plain",
            "promoting",
            "record",
            "steps",
            "verdict",
            "versions",
            "windows",
        )
    ),
)


def write_code(folder: Path, root: Path = ROOT) -> Path:
    """Copy the files to ``folder``, as the archive has them."""
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, path)
    return folder
