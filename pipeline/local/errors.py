"""The errors of the runner: each one sentence that says what, where and what to do.

PipelineError                 the execution could not start or go on (exit code 1)
├── UsageError                the user asked for something impossible (exit code 2)
├── DefinitionError           the definition is wrong; starts with the JSON path of the element
└── StorageError              something stored could not be read or written
"""

from __future__ import annotations

from pipeline.errors import PipelineError, UsageError

__all__ = ["DefinitionError", "PipelineError", "StorageError", "UsageError"]


class DefinitionError(PipelineError):
    """An element of the pipeline definition that cannot be executed here.

    Attributes:
        path: JSON path of the element, such as ``$.Steps[2].Arguments.Conditions[0]``.
    """

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"{path}: {sentence}")
        self.path = path


class StorageError(PipelineError):
    """An object that is missing, or a store that cannot be reached or has no space left.

    Attributes:
        exception_type: What SageMaker's retry policies would call it; None if never retried.
    """

    def __init__(self, sentence: str, exception_type: str | None = None) -> None:
        super().__init__(sentence)
        self.exception_type = exception_type
