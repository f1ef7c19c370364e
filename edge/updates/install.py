"""Makes a package the next version: checked, unpacked beside the others, tested, then named.

Nothing that is there is touched before the new version lies whole and tested on the disk; the last
act is one replaced file, ``state.json``. A power cut before it leaves what served, after it the
new version has its trial. What it leaves out: the trial (:mod:`edge.updates.supervisor`).
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from edge.package.check import Package, open_package
from edge.package.errors import UnsuitableError
from edge.package.manifest import Manifest
from edge.package.runtime import lacking
from edge.package.signature import Signer, TrustedKeys
from edge.settings import UpdateSettings
from edge.updates import launch
from edge.updates.errors import TestFailedError, UpdateError, VersionError
from edge.updates.files import locked, remove_tree, sync_folder, write_json
from edge.updates.state import INSTALLED, PARTIAL, Root, State, ordering

TEST_SECONDS = 120.0
"""A slow card takes some seconds to load the model."""
_SELF_TEST = """\
import sys
from pathlib import Path
from edge import selftest
from edge.classifier import IntentClassifier
from edge.errors import EdgeError
model = Path(sys.argv[1])
try:
    selftest.check(IntentClassifier.load(model), model)
except EdgeError as error:
    print(error)
    sys.exit(1)
"""


@dataclass(frozen=True)
class Outcome:
    """What an installation came to."""

    version: str
    installed: bool
    """Whether anything changed."""
    sentence: str


def check(package: Package, settings: UpdateSettings) -> tuple[Manifest, Signer | None]:
    """Everything that can be said of a package without running any of it.

    Raises:
        PackageError: It is not good, or not for this machine.
    """
    signer = package.check_signature(_keys(settings))
    package.check_machine()
    manifest = package.manifest
    wrong = lacking(manifest.requires)
    if wrong:
        name, problem = next(iter(wrong.items()))
        more = f" and {len(wrong) - 1} others" if len(wrong) > 1 else ""
        raise UnsuitableError(
            f"{package.path} needs {name} {manifest.requires[name]}, which {problem} in "
            f"{sys.executable}{more}: install its requirements.txt there first."
        )
    return manifest, signer


def install(
    root: Root,
    path: Path,
    settings: UpdateSettings,
    *,
    signature: Path | None = None,
    allow_downgrade: bool = False,
    again: bool = False,
) -> Outcome:
    """Check a package and make it the candidate, or what serves where nothing does.

    Args:
        root: Made if it is not there.
        path: A zip, an unpacked package, or the *package* step's output folder.
        settings: Which keys are trusted.
        signature: Where the signature does not lie beside the package.
        allow_downgrade: Take a version older than the newest that was confirmed here.
        again: Try a version that failed here once more.

    Raises:
        PackageError: The package is not good; nothing changed.
        UpdateError: It may not be installed, or does not work here; nothing changed.
    """
    root.make()
    with locked(root.path / "install.lock", f"Another installation works on {root.path}: wait."):
        try:
            root.clean(root.read().named())
            with open_package(path, signature) as package:
                return _install(root, package, settings, allow_downgrade, again)
        except OSError as error:
            raise UpdateError(
                f"{root.path} cannot take {path} ({error.strerror or error}): make room or give "
                "rights there, and install again; what served goes on serving."
            ) from None


def _install(
    root: Root, package: Package, settings: UpdateSettings, allow_downgrade: bool, again: bool
) -> Outcome:
    manifest, signer = check(package, settings)
    package.check_names()
    version = str(manifest.version)
    done = _already(root, version, manifest, again)
    if done is not None:
        return done
    _check_version(root, version, manifest, allow_downgrade)
    partial = root.folder(f"{PARTIAL}{version}")
    remove_tree(partial)
    partial.mkdir()
    try:
        package.unpack(partial)
        self_test(partial, sys.executable)
        note = {
            "python": sys.executable,
            "manifest": manifest.sha256,
            "signer": signer.key if signer else None,
        }
        write_json(partial / INSTALLED, note)
        partial.rename(root.folder(version))
        sync_folder(root.versions)
    except TestFailedError as error:
        reason = str(error)
        with suppress(OSError):
            root.change(lambda state: state.report(version, "self_test", reason))
        raise
    finally:
        remove_tree(partial)
    state = root.change(lambda state: _name(state, version))
    if state.serving == version:
        return Outcome(version, True, f"{version} is installed and serves at the next start.")
    return Outcome(version, True, f"{version} is installed and on trial; {state.serving} waits.")


def self_test(folder: Path, python: str) -> None:
    """Ask an unpacked version its stored questions, in a process of its own code.

    Raises:
        TestFailedError: It answers otherwise, or cannot be loaded.
    """
    try:
        process = launch.start(
            folder, None, [str(folder / "model")], python=python, code=_SELF_TEST,
            output=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise TestFailedError(f"{python} cannot be started: {error.strerror}.") from None
    try:
        output = process.communicate(timeout=TEST_SECONDS)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise TestFailedError(
            f"Its self-test did not end within {TEST_SECONDS:.0f} seconds: it is not installed."
        ) from None
    if process.returncode:
        lines = [line for line in output.splitlines() if line.strip()]
        said = lines[-1][:250] if lines else f"it ended with {process.returncode}"
        raise TestFailedError(f"Its self-test failed, it is not installed: {said}")


def _keys(settings: UpdateSettings) -> TrustedKeys | None:
    if settings.allow_unsigned and not any(settings.trusted_keys.glob("*.pem")):
        return None
    return TrustedKeys.read(settings.trusted_keys)


def _already(root: Root, version: str, manifest: Manifest, again: bool) -> Outcome | None:
    """What to say if this very package is here, or failed here before.

    A nucleus runs the install script again whenever it starts, so that none of this is an error.
    """
    state = root.read()
    same = root.installed(version).get("manifest") == manifest.sha256
    if version == state.serving and same:
        if state.candidate is not None:
            root.change(lambda now: replace(now, candidate=None, starts=0))
            return Outcome(version, True, f"{version} serves on; {state.candidate} is withdrawn.")
        return Outcome(version, False, f"{version} serves already.")
    if version == state.candidate and same:
        return Outcome(version, False, f"{version} is on trial already.")
    if version == state.previous and same:
        root.change(lambda now: _name(now, version))
        return Outcome(version, True, f"{version} serves again if it lives through its trial.")
    if state.serving and version in state.refused and not again:
        sentence = (
            f"{version} failed here and is not tried again without --again, {state.serving} "
            f"serves on: {state.refused[version]}"
        )
        return Outcome(version, False, sentence)
    return None


def _check_version(root: Root, version: str, manifest: Manifest, allow_downgrade: bool) -> None:
    state = root.read()
    if version in state.named() and root.installed(version).get("manifest") != manifest.sha256:
        raise VersionError(
            f"Another package is installed as {version}: a changed package needs a new version."
        )
    is_older = bool(state.confirmed) and ordering(version) < ordering(state.confirmed or "")
    if is_older and version != state.previous and not allow_downgrade:
        raise VersionError(
            f"{version} is older than {state.confirmed}, which was confirmed here: install a newer "
            "one, or add --allow-downgrade if that is meant."
        )


def _name(state: State, version: str) -> State:
    refused = {known: reason for known, reason in state.refused.items() if known != version}
    state = replace(state, refused=refused)
    if state.serving is None or version == state.serving:
        return replace(state, serving=version, candidate=None, starts=0)
    return replace(state, candidate=version, starts=0)
