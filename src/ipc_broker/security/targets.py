"""What a rule is about: an object and its method or topic, joined by a dot, with the wildcards of subscriptions.

`disk.format` is one method, `disk.*` all methods of the object `disk`, `sensor.>` all that begins with `sensor.`. `*` is one
segment between dots, `>` one or more at the end. What somebody asks for may be a pattern too, that of a subscription, in
which a `>` may also stand in the middle: where the object ends.
"""

from __future__ import annotations

ONE, REST = "*", ">"

Segments = tuple[str, ...]


def segments_of(pattern: str) -> Segments:
    """Of a rule. Raises ValueError, with what is wrong."""
    segments = tuple(pattern.split("."))
    if not pattern:
        raise ValueError("an empty text stands for nothing; '>' stands for everything")
    if "" in segments:
        raise ValueError(f"'{pattern}' has an empty segment")
    if REST in segments[:-1]:
        raise ValueError(f"'{pattern}' has something behind '>', which stands for all the rest")
    for segment in segments:
        # Taken literally it would fit nothing, and a rule that was meant to deny would allow.
        if segment not in (ONE, REST) and (ONE in segment or REST in segment):
            raise ValueError(f"'{pattern}': '*' and '>' stand for whole segments between dots, not for parts of one")
    return segments


def segments_asked(object_name: str, member: str | None = None) -> Segments:
    """`member` is a method or topic, None where only the object is asked for. Names are taken as they are."""
    segments = tuple(object_name.split("."))
    return segments if member is None else (*segments, *member.split("."))


def covers(rule: Segments, asked: Segments) -> bool:
    """Whether all that `asked`, a name or a pattern, stands for is what the rule stands for too."""
    is_open = rule[-1] == REST
    fixed = rule[:-1] if is_open else rule
    if len(asked) < len(rule) or (not is_open and (len(asked) > len(rule) or REST in asked)):
        return False
    for place, wanted in enumerate(fixed):
        given = asked[place]
        if given == REST:  # whatever it stands for may come at each place from here on
            return all(one == ONE for one in fixed[place:])
        if wanted not in (ONE, given):
            return False
    return True


def overlaps(rule: Segments, asked: Segments) -> bool:
    """Whether something that `asked`, a name or a pattern, stands for is what the rule stands for too.

    So it is taken to be where more than one `>` stand in the middle, which no subscription has: to find out takes long.
    """
    if asked.count(REST) > 2:
        return True
    return _overlap(rule, asked)


def _overlap(rule: Segments, asked: Segments) -> bool:
    if not rule:
        return not asked
    if len(asked) > len(rule) and rule[-1] != REST:
        return False
    for place, wanted in enumerate(rule):
        if place >= len(asked):
            return False
        if wanted == REST:
            return True
        given = asked[place]
        if given == REST:
            rest = asked[place + 1 :]
            return rule[-1] == REST or any(_overlap(rule[end:], rest) for end in range(place + 1, len(rule) + 1))
        if ONE not in (wanted, given) and wanted != given:
            return False
    return len(rule) == len(asked)
