from __future__ import annotations

from itertools import count

from msgspec import UNSET
from msgspec.structs import replace

from ipc_broker.cli.recording import Line
from ipc_broker.cli.takes import MethodTakes, takes_of

_numbers = count(1)


def call(args: object, *answers: Line, name: str = "math", method: str = "add") -> list[Line]:
    """A call's lines."""
    lines = [Line("call", value=args), *answers]
    number = str(next(_numbers))
    return [replace(line, call=number, object=name, method=method) for line in lines]


def result(value: object, seconds: float = 0.0) -> Line:
    return Line("result", value=value, seconds=seconds, size=1)


def takes(*calls: list[Line]) -> MethodTakes:
    return takes_of(line for lines in calls for line in lines)["math"]["add"]


def values(method: MethodTakes, args: object, number: int) -> list[object]:
    found = [method.next(args) for _ in range(number)]
    return [None if take is None or take.end is None else take.end.payload for take in found]


def test_answers_come_in_their_order_and_the_last_one_again() -> None:
    method = takes(call({"a": 1}, result(10)), call({"a": 2}, result(20)), call({"a": 1}, result(11)))
    assert values(method, {"a": 1}, 3) == [10, 11, 11]
    assert values(method, {"a": 2}, 2) == [20, 20]


def test_the_order_is_that_of_the_calls() -> None:
    late, early = call([1], result("first")), call([1], result("second"))
    method = takes([late[0], early[0], early[1], late[1]])
    assert values(method, [1], 2) == ["first", "second"]


def test_arguments_that_mean_the_same_are_the_same() -> None:
    method = takes(call(None, result("none")), call(5, result("five")), call({"a": 1, "b": 2}, result("map")))
    assert values(method, [], 1) == ["none"]
    assert values(method, [5], 1) == ["five"]
    assert values(method, {"b": 2, "a": 1}, 1) == ["map"]
    assert method.next({"a": 1}) is None


def test_what_was_not_recorded_is_named() -> None:
    method = takes(*(call([number], result(0)) for number in range(7)), call(["x"]))
    assert method.next([99]) is None
    assert method.refusal([99]) == "(99) was not recorded; what was: (0), (1), (2), (3), (4), and 3 more"
    assert method.next(["x"]) is None
    assert method.refusal(["x"]) == '("x") was recorded without an answer'


def test_streams_and_errors() -> None:
    items = Line("item", value=1, seconds=0.1), Line("item", value=2, seconds=0.2)
    method = takes(
        call(["whole"], *items, Line("result")),
        call(["cut"], *items, Line("cancel")),
        call(["open"], *items),
        call(["empty"], Line("result")),
    )
    assert method.streams
    whole, cut, still_open, empty = (method.next([name]) for name in ("whole", "cut", "open", "empty"))
    assert whole is not None
    assert whole.items == [(0.1, 1), (0.2, 2)]
    assert cut is not None
    assert still_open is not None
    assert empty is not None
    assert empty.items == []
    plain = takes(call([1], Line("error", code="x", message="odd")))
    assert not plain.streams
    failed = plain.next([1])
    assert failed is not None
    assert failed.end is not None
    assert failed.end.code == "x"


def test_what_could_not_be_had_is_no_answer() -> None:
    assert takes_of([Line("call", call="1", object="math", method="add", size=1 << 30)]) == {}
    method = takes(call([1], Line("result", size=1 << 30)), call([2], Line("cancel")))
    assert not method.streams
    assert method.next([1]) is None
    assert method.next([2]) is None


def test_the_brokers_own_object_is_left_out() -> None:
    assert takes_of(call(None, result("pong"), name="rob")) == {}
    assert list(takes_of(call(None, result(1), name="a") + call(None, result(1), name="b"))) == ["a", "b"]


def test_events_and_answers_without_their_call_are_left_out() -> None:
    assert takes_of([Line("event", object="a", method="b", value=1), Line("result", call="9", value=UNSET)]) == {}
