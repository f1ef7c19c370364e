from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge import settings as module
from edge.errors import SettingsError
from edge.settings import Address, Settings, parse_address

COMPLETE = """
thing = "kitchen-1"
listen = "unix:/run/slm-edge.sock"
[model]
threads = 2
arena = false
precise = true
[limits]
body_bytes = 4096
deadline_seconds = 2
[updates]
trusted_keys = "/keys"
allow_unsigned = true
[telemetry]
folder = "/var/telemetry"
destination = "https://collector.example/windows"
[greengrass]
enabled = false
"""


def test_a_file_is_read_into_sections_and_the_rest_are_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(COMPLETE)
    read = Settings.read(tmp_path / "config.toml")
    assert (read.thing, read.address) == ("kitchen-1", Address("", 0, "/run/slm-edge.sock"))
    assert (read.model.threads, read.model.arena, read.model.precise) == (2, False, True)
    assert (read.limits.body_bytes, read.limits.characters) == (4096, 2000)
    assert read.limits.deadline_seconds == 2.0
    assert (read.updates.trusted_keys, read.updates.allow_unsigned) == (Path("/keys"), True)
    assert read.telemetry.folder == Path("/var/telemetry")
    assert not read.greengrass.applies


def test_a_device_without_the_file_has_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEFAULT", tmp_path / "config.toml")
    assert Settings.read() == Settings() == Settings.read(tmp_path / "config.toml")
    assert Settings.parse({"telemetry": {"folder": ""}}).telemetry.folder is None
    with pytest.raises(SettingsError, match=r"There is no configuration file .*other"):
        Settings.read(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "cannot be read"),
        (b"listen = ", "is not TOML"),
        (b"a = " + b"[" * 10_000, "is not TOML"),
        (b"[limits]\nqueue = 0", "config.toml: limits.queue must be a whole number from 1 to"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "config.toml").write_bytes(data)
    with pytest.raises(SettingsError, match=reason):
        Settings.read(tmp_path / "config.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.read(tmp_path)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"port": 1}, "port is no setting; there are thing, listen"),
        ({"limits": {"seconds": 1}}, "limits.seconds is no setting; there are body_bytes"),
        ({"limits": 3}, "limits must be a section, not 3"),
        ({"limits": {"queue": 1.5}}, "limits.queue must be a whole number from 1 to"),
        ({"limits": {"queue": True}}, "limits.queue must be a whole number"),
        ({"limits": {"deadline_seconds": float("nan")}}, "must be a number from"),
        ({"limits": {"deadline_seconds": "1"}}, "must be a number from"),
        ({"model": {"arena": 1}}, "model.arena must be true or false, not 1"),
        ({"model": {"precise": "yes"}}, 'must be true, false or "auto"'),
        ({"updates": {"trusted_keys": "keys"}}, "must be an absolute path, not 'keys'"),
        ({"updates": {"trusted_keys": ""}}, "must be an absolute path"),
        ({"thing": 5}, "thing must be text, not 5"),
        ({"thing": "a\0b"}, "thing must be text"),
        ({"thing": "a/b"}, "thing must be 1 to 128 letters"),
        ({"listen": "8765"}, "listen must be an address and a port"),
        ({"listen": "127.0.0.1:70000"}, "listen must be an address and a port"),
        ({"listen": "example.com:80"}, "listen must be an address and a port"),
        ({"listen": "unix:socket"}, "absolute path of at most 107 bytes"),
        ({"listen": "unix:/" + "a" * 120}, "absolute path of at most 107 bytes"),
        ({"listen": "0.0.0.0:8765"}, "lets other machines in.*allow_network = true"),
        ({"telemetry": {"destination": "http://example.com"}}, "must be none, greengrass, https"),
        ({"telemetry": {"topic": "slm/#"}}, "without . and #"),
    ],
)
def test_a_value_that_is_wrong_is_named_with_its_rule(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as raised:
        Settings.parse(values)
    assert "\n" not in str(raised.value)


def test_addresses_are_taken_apart_and_put_together() -> None:
    assert parse_address("localhost:80") == Address("127.0.0.1", 80)
    assert str(parse_address("[::1]:80")) == "[::1]:80"
    assert str(parse_address("unix:/a/b")) == "unix:/a/b"
    assert parse_address("[::1]:80").is_local
    assert Settings.parse({"listen": "0.0.0.0:80", "allow_network": True}).address.port == 80


def test_a_nucleus_gives_its_name_and_has_messages_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.NUCLEUS_SOCKET, raising=False)
    assert not Settings.parse({}).greengrass.applies
    with pytest.raises(SettingsError, match="thing is not set"):
        Settings().in_topic("slm/{thing}/requests")
    monkeypatch.setenv(module.NUCLEUS_SOCKET, "/greengrass/ipc.socket")
    monkeypatch.setenv(module.NUCLEUS_THING, "hall-2")
    given = Settings.parse({})
    assert given.greengrass.applies
    assert given.in_topic(given.greengrass.requests) == "slm/hall-2/requests"
