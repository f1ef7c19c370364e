"""What can go wrong in the runtime, each with one sentence for the reader.

::

    EdgeError                       one sentence; a command prints it and ends with exit code 1
    ├── ModelError                  the folder holds no model that can serve; nothing was loaded
    │   ├── MissingFileError        a file is not there
    │   ├── DamagedFileError        a file cannot be read or is not the one that was compiled
    │   ├── InconsistentModelError  the files can be read but do not belong together
    │   └── SelfTestError           the model answers otherwise than where it was compiled
    ├── SettingsError               the device's configuration file is wrong
    ├── ServiceError                the service cannot start: its address, its surroundings
    └── InputError                  an utterance or an argument is refused; the model serves on

Packages and updates have errors of their own, below :class:`EdgeError` too.
"""

from __future__ import annotations


class EdgeError(Exception):
    """Something that the reader can mend: one sentence with what, where and what to do."""


class ModelError(EdgeError):
    """A model folder cannot serve: one sentence that says which file and why."""


class MissingFileError(ModelError):
    """A file of the model folder is not there."""


class DamagedFileError(ModelError):
    """A file cannot be read, or is not the one that the compilation recorded."""


class InconsistentModelError(ModelError):
    """The files can be read but do not belong together."""


class SelfTestError(ModelError):
    """The model was loaded but does not answer as it did where it was compiled."""


class SettingsError(EdgeError):
    """The configuration file is wrong: one sentence with the key, the value and the rule."""


class ServiceError(EdgeError):
    """The service cannot start: one sentence with the address or what else is in its way."""


class InputError(EdgeError, ValueError):
    """An utterance or an argument is refused: one sentence with the rule."""
