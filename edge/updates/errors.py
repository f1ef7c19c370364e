"""What can go wrong in an update, each with one sentence for the reader.

::

    UpdateError            nothing changed: what served before goes on serving
    ├── VersionError       an older version, or another package under a known version
    ├── TestFailedError    its own self-test failed on this machine
    ├── BusyError          another process does the same on this root
    └── StateError         the state root cannot be read or written
"""

from __future__ import annotations

from edge.errors import EdgeError


class UpdateError(EdgeError):
    """An update is refused: one sentence with what, where and what to do."""


class VersionError(UpdateError):
    """The version may not be installed here."""


class TestFailedError(UpdateError):
    """The package is good and does not work on this machine."""

    __test__ = False


class BusyError(UpdateError):
    """Another process holds the lock."""


class StateError(UpdateError):
    """The state root cannot be read or written."""
