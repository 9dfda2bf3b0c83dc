"""Names from the bus as names in Python source: legal ones, each once, and nothing that only looks like another."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from keyword import iskeyword
from unicodedata import normalize


def is_legal(name: str) -> bool:
    """Whether the name may stand in source as it is, and stays what it is.

    Python reads some letters as others, and calls names within a class that begin with two underscores otherwise.
    """
    return name.isidentifier() and not iskeyword(name) and normalize("NFKC", name) == name and not name.startswith("__")


def as_class(name: str) -> str:
    """`Sensor2` for `sensor-2`; "" where nothing is left of it."""
    parts = re.findall(r"[A-Za-z0-9]+", name)
    joined = "".join(part[0].upper() + part[1:] for part in parts).lstrip("0123456789")
    return joined if is_legal(joined) else ""


def as_constant(value: object) -> str:
    """`WARM_WHITE` for "warm white", `VALUE_1` for 1."""
    if isinstance(value, int):
        return f"VALUE_{value}" if value >= 0 else f"VALUE_MINUS_{-value}"
    joined = "_".join(re.findall(r"[A-Za-z0-9]+", str(value))).upper()
    return joined if joined[:1].isalpha() else f"VALUE_{joined}".rstrip("_")


def as_field(name: str) -> str:
    joined = "_".join(re.findall(r"[A-Za-z0-9]+", name)).lstrip("0123456789_")
    return joined if is_legal(joined) else f"{joined}_" if is_legal(f"{joined}_") else "field"


class Scope:
    """Names that are taken, in which others get one of their own."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def take(self, wanted: str) -> str:
        """It, or it with a number behind it."""
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}{'' if wanted.endswith('_') else '_'}{number}", number + 1
        self._taken.add(name)
        return name


BUILTINS = frozenset(dir(builtins))
