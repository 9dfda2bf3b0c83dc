"""Wildcards in the object and topic of a subscription, as NATS has them.

Names are segments between dots. `*` stands for exactly one segment, `>` for one or more at the end. A pattern is kept in a
tree of segments, so that an event is matched in time that depends on its own segments and not on the number of patterns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

ONE = "*"
REST = ">"


class PatternError(ValueError):
    """What is wrong with a pattern."""


def is_pattern(name: str) -> bool:
    """Whether it has wildcards. Raises PatternError where one stands in the wrong place."""
    if ONE not in name and REST not in name:
        return False
    segments = name.split(".")
    if ONE not in segments and REST not in segments:
        return False
    if REST in segments[:-1]:
        raise PatternError(f"the pattern '{name}' has something behind '>', which stands for all the rest")
    if "" in segments:
        raise PatternError(f"the pattern '{name}' has an empty segment")
    return True


def matches(pattern: str, name: str) -> bool:
    """Whether the pattern, which `is_pattern` has taken, stands for the name."""
    wanted, given = pattern.split("."), name.split(".")
    for place, segment in enumerate(wanted):
        if segment == REST:
            return len(given) > place
        if place >= len(given) or segment not in (ONE, given[place]):
            return False
    return len(wanted) == len(given)


def topic_refusal(object_name: str, topic: str) -> tuple[str, str] | None:
    """Why nobody can publish there: an error's code and text."""
    try:
        wild = is_pattern(object_name) | is_pattern(topic)
    except PatternError as error:
        return "invalid_args", str(error)
    if wild:
        return "invalid_args", f"an event needs its own object and topic: '{object_name}' '{topic}' is a pattern"
    return None


class _Node(Generic[Entry]):
    __slots__ = ("ends", "segments", "topics")

    def __init__(self) -> None:
        self.segments: dict[str, _Node[Entry]] = {}
        # Where an object's pattern ends: the tree of its topics; where a topic's ends: who asked for it.
        self.topics: _Node[Entry] | None = None
        self.ends: dict[Entry, None] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.segments or self.topics or self.ends)


class PatternTree(Generic[Entry]):
    """Entries by the patterns of an object and a topic."""

    __slots__ = ("_root", "count")

    def __init__(self) -> None:
        self._root: _Node[Entry] = _Node()
        self.count = 0

    def add(self, object_name: str, topic: str, entry: Entry) -> None:
        node = self._root
        for segment in object_name.split("."):
            node = node.segments.setdefault(segment, _Node())
        if node.topics is None:
            node.topics = _Node()
        node = node.topics
        for segment in topic.split("."):
            node = node.segments.setdefault(segment, _Node())
        self.count += entry not in node.ends
        node.ends[entry] = None

    def remove(self, object_name: str, topic: str, entry: Entry) -> None:
        """The entry was added for these two."""
        objects = object_name.split(".")
        path: list[tuple[_Node[Entry], str]] = []
        node = self._root
        for segment in objects:
            path.append((node, segment))
            node = node.segments[segment]
        assert node.topics is not None
        last_of_object, node = node, node.topics
        for segment in topic.split("."):
            path.append((node, segment))
            node = node.segments[segment]
        del node.ends[entry]
        self.count -= 1
        for place in reversed(range(len(path))):
            parent, segment = path[place]
            if parent.segments[segment].is_empty:
                del parent.segments[segment]
            if place == len(objects) and last_of_object.topics is not None and last_of_object.topics.is_empty:
                last_of_object.topics = None

    def find(self, object_name: str, topic: str) -> list[Entry]:
        found: list[Entry] = []
        if self.count:
            for end in _ends(self._root, object_name.split(".")):
                if end.topics is not None:
                    for last in _ends(end.topics, topic.split(".")):
                        found.extend(last.ends)
        return found


def _ends(node: _Node[Entry], segments: list[str]) -> Iterator[_Node[Entry]]:
    """The nodes at which patterns for these segments end."""
    level = [node]
    for segment in segments:
        following: list[_Node[Entry]] = []
        for one in level:
            if (rest := one.segments.get(REST)) is not None:
                yield rest
            if (same := one.segments.get(segment)) is not None and segment not in (ONE, REST):
                following.append(same)
            if (any_one := one.segments.get(ONE)) is not None:
                following.append(any_one)
        level = following
        if not level:
            return
    yield from level
