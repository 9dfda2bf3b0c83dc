"""`unreadable_to_seed` against a strict model of what the Rust crate's programs read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ipc_broker.messages import Invalid, Publish
from ipc_broker.protocol.codec import Decoder
from ipc_broker.protocol.encodings import JSON
from ipc_broker.protocol.json_payload import unreadable_to_seed
from tests.protocol.strategies import JSON_VALUES
from tests.seed.decoding import InvalidMessage
from tests.seed.decoding import decode as seed_decode

# As text, with what those programs stumble over.
NUMBERS = ["0", "-0", "1.50", "1e5", "1E+5", "1e-999", "1e308", "1e999", "-1e999", "18446744073709551616", "9" * 40]
STRINGS = [
    '""',
    '"\\u00e9"',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800\\u0041"',
    '"[[{"',
    '"\\"["',
    '"\x7f"',
]
NO_JSON = [
    "",
    "nul",
    "NaN",
    "Infinity",
    "-",
    "01",
    "1.",
    ".5",
    "+1",
    "'a'",
    '"\n"',
    '"\\x"',
    "[1,]",
    "{,}",
    "{1:2}",
    "[",
    "]",
]
JSON_TEXTS = st.recursive(
    st.sampled_from([*NUMBERS, *STRINGS, "null", "true"]) | JSON_VALUES.map(json.dumps),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + " , ".join(items) + "]"),
        st.lists(st.tuples(st.sampled_from(STRINGS), inner), max_size=3).map(
            lambda items: "{" + ",".join(f"{key} :{value}" for key, value in items) + "}"
        ),
    ),
    max_leaves=8,
)


def body_with(payload: str) -> bytes:
    return f'{{"Publish":{{"object_name":"a","topic":"t","args":{payload}}}}}'.encode()


def readable(payload: str) -> bool:
    """What our broker thinks: whether it would send an event with this payload to a program of the seed."""
    body = body_with(payload)
    [(received, _)] = Decoder(JSON, (Publish,)).decode_all([len(body).to_bytes(4, "big") + body])
    if isinstance(received, Invalid):
        return False
    assert isinstance(received, Publish)
    unreadable = unreadable_to_seed(received.args)
    assert unreadable is None or unreadable, "a reason has words"
    return unreadable is None


def read_by_the_seed(payload: str) -> bool:
    try:
        seed_decode(body_with(payload))
    except InvalidMessage:
        return False
    return True


@given(JSON_TEXTS)
def test_what_is_readable_to_the_seed_agrees_with_a_strict_model_of_it(payload: str) -> None:
    assert readable(payload) == read_by_the_seed(payload)


@pytest.mark.parametrize("payload", [*NUMBERS, *STRINGS, *NO_JSON])
@pytest.mark.parametrize("around", ["{}", "[{}]", '{{"a":{}}}'])
def test_each_awkward_piece_agrees_with_the_model(payload: str, around: str) -> None:
    payload = around.format(payload)
    assert readable(payload) == read_by_the_seed(payload)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (str(2**64), True),
        (str(-(2**63) - 1), True),
        ("1" * 309, True),  # below 1.8e308, the largest number with a floating point
        ("2" * 309, False),
        ("-" + "2" * 309, False),
        ("9" * 400, False),
        ("9" * 5000, False),
    ],
    ids=lambda value: str(value)[:12],
)
def test_an_integer_beyond_the_floating_point_numbers_is_unreadable_to_the_seed(payload: str, expected: bool) -> None:
    assert read_by_the_seed(payload) is expected
    assert readable(payload) is expected


@pytest.mark.parametrize("depth", [*range(120, 131), 500])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_a_whole_body_of_127_levels_is_readable_to_the_seed_and_one_more_is_not(
    opening: str, closing: str, depth: int
) -> None:
    levels = opening.count("[") + opening.count("{")
    payload = opening * (depth // levels) + "1" + closing * (depth // levels)
    fits = depth // levels * levels + 2 <= 127
    assert read_by_the_seed(payload) is fits
    assert readable(payload) is fits


def test_the_deepest_branch_counts_and_brackets_in_text_do_not() -> None:
    wide = "[" + ",".join(["[[]]"] * 500) + "]"
    assert readable(wide)
    assert readable('"' + "[" * 500 + '"')
    assert not readable('[1,{"a":[],"b":' + "[" * 124 + "]" * 124 + "}]")


def test_a_payload_too_deep_to_be_read_at_all_is_unreadable() -> None:
    assert unreadable_to_seed(Raw(b"[" * 30_000 + b"]" * 30_000)) is not None
