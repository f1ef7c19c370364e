"""What can go wrong in the runtime, each with one sentence for the reader.

::

    Exception
    ├── ModelError                  the folder holds no model that can serve; nothing was loaded
    │   ├── MissingFileError        a file is not there
    │   ├── DamagedFileError        a file cannot be read or is not the one that was compiled
    │   └── InconsistentModelError  the files can be read but do not belong together
    └── ValueError
        └── InputError              an utterance or an argument is refused; the model serves on
"""

from __future__ import annotations


class ModelError(Exception):
    """A model folder cannot serve: one sentence that says which file and why."""


class MissingFileError(ModelError):
    """A file of the model folder is not there."""


class DamagedFileError(ModelError):
    """A file cannot be read, or is not the one that the compilation recorded."""


class InconsistentModelError(ModelError):
    """The files can be read but do not belong together."""


class InputError(ValueError):
    """An utterance or an argument is refused: one sentence with the rule."""
