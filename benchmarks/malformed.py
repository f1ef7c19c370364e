"""Requests that are wrong, or nearly: JSON bodies with what must become of them, and raw bytes.

What must become of a body is not asked of the service's own code: docs/api/openapi.yaml says it,
read by a library. What it leaves out: sending (:mod:`benchmarks.fuzz`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "api" / "openapi.yaml"
BODY_BYTES = 65_536
_WORDS = ("turn", "off", "the", "light", "play", "jazz", "will", "it", "rain", "tomorrow", "lamp")
_TEXTS = (
    "", " ", "\t\n", "\x85", "\0", "a\0b", "\u200b", "\ufeff", "\ud800", "x\udfff", "😀" * 50,
    "a" * 2000, "a" * 2001, "é" * 2000, "\u202e evil", "' OR 1=1 --", "{{7*7}}", "%s%n", "\x1b[2J",
    "\u0301" * 500, "ﷺ" * 300, "\r\nHTTP/1.1 200 OK\r\n\r\n",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.0, 1.5, 3, 1000, 1001, 10**30, -(10**400), float("nan"),
    float("inf"), 1e308, "1", "", [], {}, [[]], [None], ["a", 1], {"text": "a"}, [{}], ["lamp off"],
)  # fmt: skip
_PIECES = (
    b"\r\n", b"\r\n\r\n", b"\0", b"\n", b" ", b":", b"//", b"%00", b"../", b"\x80", b"\xff" * 9,
    b"HTTP/2.0", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"ffffffff\r\n", b"Host: b\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
    b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Content-Encoding: gzip\r\n",
    b"A: " + b"a" * 9000 + b"\r\n", b"GET / HTTP/1.1\r\n\r\n",
)  # fmt: skip
_WHOLE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /healthz\r\n\r\n", b"\r\n\r\n\r\n", b"\0", b"POST",
    b"GET  /healthz HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", b"GET /" + b"a" * 40_000,
)  # fmt: skip


class Rule:
    """Which bodies ``/v1/predict`` must answer, by the document."""

    def __init__(self, document: Path = DOCUMENT) -> None:
        import jsonschema_rs
        import yaml

        described = yaml.safe_load(document.read_text(encoding="utf-8"))
        content = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
        schema = content["application/json"]["schema"]
        self._schema = jsonschema_rs.validator_for(
            {**schema, "components": described["components"]}
        )

    def allows(self, body: bytes) -> bool:
        """Whether the answer must be 200."""
        if len(body) > BODY_BYTES:
            return False
        try:
            value = json.loads(body.decode("utf-8"))
            # not JSON, though Python writes and reads them; and half a pair is no text
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
            return self._schema.is_valid(value)
        except (ValueError, RecursionError):
            return False


class Malformed:
    """Makes them from a seed."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._bodies = (
            self._value, self._keys, self._batch, self._deep, self._long, self._bytes, self._good
        )  # fmt: skip

    def body(self) -> bytes:
        """A body for ``/v1/predict``."""
        return self.chance.choice(self._bodies)()

    def raw(self) -> bytes:
        """What a client may send instead of a request."""
        if self.chance.random() < 0.1:
            return self.chance.choice(_WHOLE)
        if self.chance.random() < 0.05:
            return self.chance.randbytes(self.chance.randrange(1, 4000))
        return self._damaged(self._request(), _PIECES)

    def _text(self) -> str:
        if self.chance.random() < 0.5:
            return self.chance.choice(_TEXTS)
        return " ".join(self.chance.choices(_WORDS, k=self.chance.randrange(1, 9)))

    def _good(self) -> bytes:
        return json.dumps({"text": " ".join(self.chance.choices(_WORDS, k=5))}).encode()

    def _value(self) -> bytes:
        key = self.chance.choice(("text", "texts", "top_k"))
        body: dict[str, Any] = {"text": self._text()} if key == "top_k" else {}
        body[key] = self.chance.choice((*_VALUES, self._text()))
        return _written(body)

    def _keys(self) -> bytes:
        keys = ("text", "texts", "top_k", "Text", "", "language", "\0", "__proto__")
        chosen = self.chance.sample(keys, self.chance.randrange(5))
        pick: Callable[[], Any] = lambda: self.chance.choice((*_VALUES, "lamp off"))  # noqa: E731
        return _written({key: pick() for key in chosen})

    def _batch(self) -> bytes:
        count = self.chance.choice((0, 1, 2, 5, 64, 65, 10_000))
        texts: list[Any] = ["lamp off"] * count
        if texts and self.chance.random() < 0.5:
            texts[self.chance.randrange(count)] = self.chance.choice((*_VALUES, self._text()))
        return _written({"texts": texts})

    def _deep(self) -> bytes:
        depth = self.chance.choice((10, 500, 5000, 30_000))
        opening, closing = self.chance.choice(((b"[", b"]"), (b'{"text":', b"}"), (b"[", b"")))
        inside = opening * (depth // len(opening)) + b"1" + closing * (depth // len(opening))
        return self.chance.choice((inside, b'{"text": ' + inside + b"}"))

    def _long(self) -> bytes:
        length = self.chance.choice((1999, 2000, 2001, 65_000, 66_000, 1_000_000))
        return _written({"text": "a" * length})

    def _bytes(self) -> bytes:
        return self._damaged(self._good(), (b"\xff", b"\xc3(", b"\0", b'"', b"}", b"\\u12", b","))

    def _request(self) -> bytes:
        body = self._good()
        length = b"Content-Length: %d\r\n" % len(body)
        start = b"POST /v1/predict HTTP/1.1\r\nHost: device\r\n"
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        get = b"GET %s HTTP/1.1\r\nHost: device\r\n\r\n" % self.chance.choice(
            (b"/healthz", b"/readyz", b"/v1/version", b"/metrics", b"/", b"/v1/predict", b"/%2e%2e")
        )
        return self.chance.choice(
            (
                start + length + b"\r\n" + body,
                start + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
                get,
                get + get,
                start.replace(b"1.1", b"1.0") + length + b"\r\n" + body,
            )
        )

    def _damaged(self, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
        """Once or a few times: bits, a cut, a piece put in, a stretch taken out or doubled."""
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            choice, place = self.chance.randrange(5), self.chance.randrange(len(data) + 1)
            end = min(len(data), place + self.chance.randrange(1, 40))
            if choice == 0 and place < len(data):
                changed = bytes((data[place] ^ 1 << self.chance.randrange(8),))
                data = data[:place] + changed + data[place + 1 :]
            elif choice == 1:
                data = data[:place] or data
            elif choice == 2:
                data = data[:place] + self.chance.choice(pieces) + data[place:]
            elif choice == 3:
                data = (data[:place] + data[end:]) or data
            else:
                data = data[:end] + data[place:]
        return data


def _written(value: object) -> bytes:
    # half pairs can only be written escaped; whole characters either way
    text = json.dumps(value)
    return text.encode()
