"""A place in a JSON document that knows its own path, so that every complaint can name it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, cast

from pipeline.local.errors import DefinitionError

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Cursor:
    """One element of a document; moving to a missing or ill-typed one raises DefinitionError."""

    value: object
    path: str = "$"

    def fail(self, sentence: str) -> NoReturn:
        raise DefinitionError(self.path, sentence)

    def mapping(self) -> dict[str, object]:
        value = self.value
        if not isinstance(value, dict):
            self.fail(f"expected an object, found {self._kind()}.")
        return cast("dict[str, object]", value)

    def find(self, key: str) -> Cursor | None:
        """The member ``key``, or None where it is missing or null."""
        value = self.mapping().get(key)
        return None if value is None else Cursor(value, self._below(key))

    def at(self, key: str) -> Cursor:
        """The member ``key``, which has to be there."""
        found = self.find(key)
        if found is None:
            self.fail(f"{key} is missing.")
        return found

    def members(self) -> Iterator[tuple[str, Cursor]]:
        for key, value in self.mapping().items():
            yield key, Cursor(value, self._below(key))

    def items(self) -> list[Cursor]:
        value = self.value
        if not isinstance(value, list):
            self.fail(f"expected a list, found {self._kind()}.")
        values = cast("list[object]", value)
        return [Cursor(value, f"{self.path}[{index}]") for index, value in enumerate(values)]

    def items_of(self, key: str) -> list[Cursor]:
        """The elements of the list ``key``; none where it is missing."""
        found = self.find(key)
        return [] if found is None else found.items()

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            self.fail(f"expected a text, found {self._kind()}.")
        return self.value

    def text_of(self, key: str) -> str | None:
        found = self.find(key)
        return None if found is None else found.text()

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail(f"expected a number, found {self._kind()}.")
        return self.value

    def number_of(self, key: str) -> float | None:
        found = self.find(key)
        return None if found is None else found.number()

    def _below(self, key: str) -> str:
        return f"{self.path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{self.path}['{key}']"

    def _kind(self) -> str:
        match self.value:
            case None:
                return "null"
            case bool():
                return "a boolean"
            case str():
                return "a text" if self.value else "an empty text"
            case int() | float():
                return "a number"
            case _:
                return "a list" if isinstance(self.value, list) else "an object"
