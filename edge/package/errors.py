"""What can be wrong with a package, each with one sentence for the reader.

::

    PackageError                 it is not installed, and nothing of it was run
    ├── UnreadableError          it is not there, or is neither a zip nor a folder of a package
    ├── ManifestError            manifest.json is not what this runtime understands
    ├── SignatureError           no trusted key signed the manifest
    ├── TrustError               the device has no key to check a signature with
    ├── UnsafeError              a member that no package has: a link, a path out of it, a bomb
    ├── AlteredError             its files are not the ones that the manifest names
    └── UnsuitableError          it is good, for another machine or Python
"""

from __future__ import annotations

from edge.errors import EdgeError


class PackageError(EdgeError):
    """A package is refused: one sentence with what, where and what to do."""


class UnreadableError(PackageError):
    """The package is not there or cannot be read as one."""


class ManifestError(PackageError):
    """The manifest is not one of a known format."""


class SignatureError(PackageError):
    """The signature is missing, or is of no trusted key and this manifest."""


class TrustError(PackageError):
    """There is no trusted key to check with: the device's fault, not the package's."""


class UnsafeError(PackageError):
    """A member that could write elsewhere, or more than was signed for."""


class AlteredError(PackageError):
    """A file is missing, changed or one too many."""


class UnsuitableError(PackageError):
    """The package was made for another processor, Python or runtime."""
