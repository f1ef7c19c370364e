"""What the pipeline raises for a user: one sentence that says what, where, and what to do.

PipelineError                 something could not start or go on (exit code 1)
└── UsageError                the user asked for something impossible (exit code 2)

Alone in this file, because the function that promotes in the account has no part of the runner.
"""

from __future__ import annotations


class PipelineError(Exception):
    """What went wrong, in one sentence for the user; never shown with a traceback."""


class UsageError(PipelineError):
    """An option or parameter that cannot be honoured."""
