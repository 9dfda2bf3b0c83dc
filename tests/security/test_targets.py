"""Whether a rule is about what is asked, held against all names that there are with a few segments."""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipc_broker.security.targets import ONE, REST, Segments, covers, overlaps, segments_asked, segments_of

LETTERS = ("a", "b", "c")
"""`c` stands in no pattern: for all that a pattern does not name."""

LONGEST = 7
NAMES = [".".join(name) for size in range(1, LONGEST + 1) for name in product(LETTERS, repeat=size)]

segment = st.sampled_from(["a", "b", ONE])


@st.composite
def rules(draw: st.DrawFn, most: int = 3) -> Segments:
    start = draw(st.lists(segment, max_size=most - 1))
    end = [draw(st.sampled_from(["a", "b", ONE, REST]))]
    return (*start, *end)


@st.composite
def asked_for(draw: st.DrawFn) -> Segments:
    """Names, and an object with a topic of which each may be a pattern: with '>' at the end, and in the middle."""
    return draw(rules(2)) + draw(st.one_of(st.just(()), rules(2)))


@cache
def stands_for(pattern: Segments) -> frozenset[str]:
    """Of all names with up to `LONGEST` segments. As many as a rule and a pattern have together are enough: of what both
    stand for, the shortest has no more.
    """
    parts = {ONE: r"[^.]+", REST: r"[^.]+(?:\.[^.]+)*"}
    expression = re.compile(r"\.".join(parts.get(one, one) for one in pattern))
    return frozenset(name for name in NAMES if expression.fullmatch(name))


@given(rules(), asked_for())
@example(("a", ONE, REST), ("a", REST, "a"))
@example((ONE, ONE), (REST,))
@example((ONE, "a"), (REST, "a"))
def test_a_rule_covers_what_it_stands_for_altogether(rule: Segments, asked: Segments) -> None:
    assert covers(rule, asked) is (stands_for(asked) <= stands_for(rule))


@given(rules(), asked_for())
@example(("a", "b"), (REST, "b"))
@example((ONE, "b", "b"), (REST, "b"))
@example(("a", REST), (REST, "b"))
@example(("a", "b", REST), (REST, "a", "a", REST))
def test_a_rule_overlaps_with_what_it_stands_for_in_part(rule: Segments, asked: Segments) -> None:
    assert overlaps(rule, asked) is bool(stands_for(asked) & stands_for(rule))


@given(rules(), asked_for())
def test_what_is_covered_overlaps(rule: Segments, asked: Segments) -> None:
    assert overlaps(rule, asked) or not covers(rule, asked)


@given(rules(), st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4).map(tuple))
def test_of_a_name_all_or_nothing_is_meant(rule: Segments, name: Segments) -> None:
    assert covers(rule, name) is overlaps(rule, name)


@pytest.mark.parametrize(
    ("pattern", "wrong"),
    [
        ("", "an empty text stands for nothing"),
        ("a..b", "has an empty segment"),
        (".a", "has an empty segment"),
        ("a.", "has an empty segment"),
        ("a.>.b", "has something behind '>'"),
        ("a.get*", "whole segments"),
        ("a.**", "whole segments"),
        (">>", "whole segments"),
    ],
)
def test_a_pattern_that_would_not_do_what_it_seems_to_is_refused(pattern: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as caught:
        segments_of(pattern)
    if pattern:
        assert f"'{pattern}'" in str(caught.value)


def test_a_method_without_a_name_is_one_all_the_same() -> None:
    """`disk.format` is no object here: who may call that method may not call all that an object of this name has."""
    assert segments_asked("disk.format", "") == ("disk", "format", "")
    assert not covers(segments_of("disk.format"), segments_asked("disk.format", ""))
    assert covers(segments_of("disk.format.*"), segments_asked("disk.format", ""))
    assert segments_asked("disk.format") == ("disk", "format")


def test_many_wildcards_take_no_long_time() -> None:
    """Which anybody may ask for."""
    rule = segments_of(".".join("ab" * 50))
    assert overlaps(rule, segments_asked(">." * 500 + "x", "*." * 500 + "y")), "it is no pattern of a subscription"
    assert not overlaps(rule, segments_asked(".".join("*" * 40) + ".>", ".".join("*" * 40) + ".c.>"))
    assert overlaps(rule, segments_asked(".".join("*" * 40) + ".>", ".".join("*" * 40) + ".b.>"))
