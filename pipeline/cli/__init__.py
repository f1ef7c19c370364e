"""``slm``: run the pipeline on this machine, look at what it made, and try the model.

Importing this package imports nothing else, so that ``slm`` can say which extra is missing.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point ``slm``."""
    try:
        from pipeline.cli.app import app
    except ModuleNotFoundError as error:
        sys.exit(f"error: slm needs {error.name}: pip install 'slm-edge[local]'.")
    app(prog_name="slm")
