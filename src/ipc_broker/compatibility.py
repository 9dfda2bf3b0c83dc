"""What has changed between two interfaces, and whether programs written for the old one still work with the new one."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from .description import Interface, MethodDescription, Parameter, Schema
from .fitting import Fitting

MOST_SAID = 80
"""Characters for a type in a line of text."""

_HOW = {"list": "position", "map": "name"}


class Change(Struct, frozen=True):
    """`compatible`: whoever was written for the old interface does not notice."""

    text: str
    compatible: bool


def changes(old: Interface, new: Interface) -> list[Change]:
    """The incompatible ones first. Docstrings, defaults and names of classes do not count."""
    found: list[Change] = []
    fitting = Fitting(old.definitions, new.definitions)
    for name, method in old.methods.items():
        if (now := new.methods.get(name)) is None:
            found.append(Change(f"'{name}' is gone", False))
        else:
            found += [Change(f"'{name}' {one.text}", one.compatible) for one in _of_method(method, now, fitting)]
    found += [Change(f"'{name}' is new", True) for name in new.methods if name not in old.methods]
    return sorted(found, key=lambda change: change.compatible)


def _of_method(old: MethodDescription, new: MethodDescription, fitting: Fitting) -> Iterator[Change]:
    if old.stream is not new.stream:
        yield Change("is a stream now" if new.stream else "is no stream any more", False)
    yield from _Parameters(old, new, fitting).changes()
    verb = "yields" if new.stream else "returns"
    if not fitting.fits(new.returns, old.returns, swapped=True):
        yield Change(f"{verb} {brief(new.returns)} instead of {brief(old.returns)}", False)
    elif not fitting.fits(old.returns, new.returns):
        yield Change(f"{verb} {brief(new.returns)} only", True)


class _Parameters:
    """Of one method: for each way in which an argument was given, what takes it now."""

    def __init__(self, old: MethodDescription, new: MethodDescription, fitting: Fitting) -> None:
        self._old = old
        self._new = new
        self._fitting = fitting
        self._places = [one for one in new.parameters if one.kind in ("", "positional")]
        self._named = {one.name: one for one in new.parameters if one.kind in ("", "keyword")}
        self._rest: dict[str, Parameter] = {one.kind: one for one in new.parameters if one.kind in ("list", "map")}
        self._taken: set[str] = set()
        """Names of parameters that take what was given before too."""

    def changes(self) -> Iterator[Change]:
        place, moved = 0, False
        for before in self._old.parameters:
            if before.kind in ("list", "map"):
                continue
            after = self._by_name(before) if before.kind != "positional" else self._at(place)
            if after is None:
                yield self._gone(before)
            else:
                self._taken.add(after.name)
                yield from self._compared(before, after)
            moved |= after is not None and before.kind != "keyword" and self._has_moved(before, place)
            place += before.kind != "keyword"
        for before in self._old.parameters:
            if before.kind in ("list", "map"):
                yield from self._of_rest(before, place)
        if moved:
            names = ", ".join(one.name for one in self._places)
            yield Change(f"takes its arguments by position as ({names})", False)
        for after in self._new.parameters:
            if after.kind in ("list", "map"):
                if not any(one.kind == after.kind for one in self._old.parameters):
                    yield Change(f"takes further arguments by {_HOW[after.kind]}", True)
            elif after.name not in self._taken:
                what = "must be given" if after.required else "may be given"
                yield Change(f"has a new parameter '{after.name}', which {what}", not after.required)

    def _by_name(self, before: Parameter) -> Parameter | None:
        return self._named.get(before.name) or self._rest.get("map")

    def _at(self, place: int) -> Parameter | None:
        return self._places[place] if place < len(self._places) else self._rest.get("list")

    def _has_moved(self, before: Parameter, place: int) -> bool:
        """Whether something else stands at its place. What goes by position only may get another name there."""
        at = self._at(place)
        if at is None or at.name == before.name or at.kind == "list":
            return at is None
        return before.kind == "" or any(one.name == before.name for one in self._places)

    def _gone(self, before: Parameter) -> Change:
        if any(one.name == before.name and one.kind == "positional" for one in self._places):
            self._taken.add(before.name)
            return Change(f"takes '{before.name}' by position only", False)
        return Change(f"has no parameter '{before.name}' any more", False)

    def _of_rest(self, before: Parameter, place: int) -> Iterator[Change]:
        """Of `*args` and `**kwargs`: what went there may be an argument of its own now."""
        after = self._rest.get(before.kind)
        if after is None:
            yield Change(f"takes no further arguments by {_HOW[before.kind]} any more", False)
            return
        takers = self._places[place:] if before.kind == "list" else [*self._named.values()]
        for one in [*(one for one in takers if one.name not in self._taken), after]:
            if not self._fitting.fits(before.schema, one.schema):
                yield self._other_type(before, one)

    def _compared(self, old: Parameter, new: Parameter) -> Iterator[Change]:
        alone = new.kind not in ("list", "map")
        if new.required and alone and not old.required:
            yield Change(f"must be given '{old.name}' now", False)
        elif old.required and alone and not new.required:
            yield Change(f"need not be given '{old.name}' any more", True)
        if not self._fitting.fits(old.schema, new.schema):
            yield self._other_type(old, new)
        elif alone and not self._fitting.fits(new.schema, old.schema, swapped=True):
            yield Change(f"takes {brief(new.schema)} as '{old.name}', more than before", True)

    def _other_type(self, old: Parameter, new: Parameter) -> Change:
        return Change(f"takes {brief(new.schema)} as '{new.name}' instead of {brief(old.schema)}", False)


def brief(schema: Schema) -> str:
    """A type in a few words, for a line of text."""
    text = _words(schema, 3)
    return text if len(text) <= MOST_SAID else f"{text[: MOST_SAID - 3]}..."


def _words(schema: Schema, depth: int) -> str:
    match schema:
        case {"$ref": str(name)}:
            return name.rpartition("/")[2]
        case {"anyOf": list(choices)} if depth:
            return " | ".join(_words(one, depth - 1) for one in choices[:MOST_SAID] if isinstance(one, dict))
        case {"enum": list(values)}:
            return "one of " + ", ".join(repr(one) for one in values[:MOST_SAID] if not isinstance(one, list | dict))
        case {"type": "array", "items": dict(items)} if depth:
            return f"array of {_words(items, depth - 1)}"
    return str(schema.get("format") or schema.get("type") or "anything")
