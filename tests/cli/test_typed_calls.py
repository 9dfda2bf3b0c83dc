"""`rob call` with words that are converted by the types that the worker tells of."""

from __future__ import annotations

import json

import pytest

from tests.cli.programs import Ended, rob
from tests.seed.broker import SeedBroker, running

SUM = "\nResult:\nMap:\n   sum :: 42\n"
ADD = "usage: math.add(a: int, b: int) -> dict[str, int]; `rob describe math add` says more\n"


@pytest.mark.parametrize("words", [("10", "32"), ("a=10", "b=32"), ("10", "b=32"), ("--", "-10", "52")], ids=str)
def test_words_by_place_and_by_name(bus: str, words: tuple[str, ...]) -> None:
    assert rob("--address", bus, "call", "math", "add", *words) == Ended(0, SUM, "")


def test_a_text_is_a_text_whatever_it_looks_like(bus: str) -> None:
    ended = rob("call", "echo", "fail", "007", address=bus)
    assert ended.errors == "rob: echo.fail raised ValueError: 007 (remote_error)\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "a and b are missing"),
        (["a=ten", "b=32"], "a: an integer is expected, given 'ten'"),
        (["10", "32", "7"], "'7' is too much: it takes 2 by place"),
        (["aa=10", "b=32"], "there is no 'aa' (did you mean a?); a is missing"),
    ],
)
def test_what_is_wrong_is_said_before_calling(bus: str, words: list[str], reason: str) -> None:
    assert rob("call", "math", "add", *words, address=bus) == Ended(2, "", f"rob: math.add: {reason}\n{ADD}")


def test_what_is_wrong_as_json(bus: str) -> None:
    ended = rob("call", "math", "add", "10", "--json", address=bus)
    assert (ended.status, ended.output) == (2, "")
    told = json.loads(ended.errors)
    assert (told["code"], told["message"]) == ("usage", "math.add: b is missing")
    assert told["usage"].startswith("math.add(a: int, b: int)")


def test_an_opaque_object_is_called_as_before(shop: str) -> None:
    ended = rob("call", "opaque", "give", "a=10", "b=x", "--json", address=shop)
    assert ended == Ended(0, '{"a":10,"b":"x"}\n', "")
    assert rob("call", "opaque", "give", address=shop) == Ended(0, "\nResult:\nnull\n", "")
    ended = rob("call", "opaque", "give", "10", address=shop)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith("rob: '10' is neither a signature nor KEY=VALUE")


def test_a_broker_that_cannot_describe_is_asked_nothing() -> None:
    with running(SeedBroker()) as broker:
        assert rob("call", "rob", "ping", "a=1", address=broker.address).status == 0
        assert rob("call", "ghost", "add", "1", address=broker.address).status == 2


def test_names_that_were_probably_meant(bus: str) -> None:
    for words in (("a=1",), ("1", "2"), ("(ii)", "1", "2")):
        ended = rob("call", "mth", "add", *words, address=bus)
        assert ended == Ended(1, "", "rob: No such object 'mth'; did you mean math? (no_such_object)\n")
    expected = Ended(1, "", "rob: 'math' has no method 'adt'; did you mean add? (no_such_method)\n")
    assert rob("call", "math", "adt", "1", "2", address=bus) == expected
    assert rob("call", "math", "adt", "(ii)", "1", "2", address=bus) == expected


def test_a_word_that_is_read_as_a_signature(address: str) -> None:
    ended = rob("call", "files", "open", "bin", address=address)
    assert ended.status == 2
    assert "'bin' is read as a signature; as an argument it is NAME=bin" in ended.errors


@pytest.mark.parametrize("word", ["n", "{}"])
def test_a_word_that_was_a_signature_and_did_not_fit(bus: str, word: str) -> None:
    ended = rob("call", "math", "add", word, address=bus)
    assert ended.status == 1
    assert ended.errors.endswith(
        f"; {word!r} is read as a signature; as an argument it is NAME={word} (invalid_args)\n"
    )
