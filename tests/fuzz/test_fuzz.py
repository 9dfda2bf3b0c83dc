"""A short run of the fuzzing, and that it would find what is wrong."""

from __future__ import annotations

import secrets
import sys
import time

import pytest

from ipc_broker.messages import Goodbye, HasObject
from ipc_broker.routing.registrar import Registrar
from ipc_broker.routing.router import Router
from ipc_broker.session import Session
from tests.fuzz import runner
from tests.fuzz.__main__ import main
from tests.fuzz.router_target import RouterTarget
from tests.fuzz.runner import Hang, Runner, describe
from tests.fuzz.standing import PRINCIPALS
from tests.fuzz.wire import Map, Spelled, to_json, to_msgpack

FIXED = 1


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A router that keeps every question that it is asked."""
    kept: list[object] = []
    ask = Registrar.has_object

    def has_object(self: Registrar, peer: object, question: HasObject, frame: bytes, now: float) -> None:
        kept.append([str(now + number) for number in range(50)])
        ask(self, peer, question, frame, now)  # type: ignore[arg-type]

    monkeypatch.setattr(Registrar, "has_object", has_object)
    return kept


def test_nothing_that_is_sent_or_typed_does_harm() -> None:
    outcome = Runner(FIXED).play(0, 2000)
    assert not outcome.faults, "\n\n".join(describe(fault, FIXED) for fault in outcome.faults)
    assert outcome.played == 2000
    # And it has reached what it is for.
    kinds = set(outcome.coverage.messages)
    assert kinds >= {"Invalid", "Call", "Result", "Error", "Item", "Subscribe", "Publish", "RegisterObject", "Cancel"}
    assert kinds >= {
        "Credit",
        "EventCredit",
        "Event",
        "Subscribed",
        "Registered",
        "Pause",
        "Caller",
        "Goodbye",
        "Batch",
    }
    assert len(outcome.coverage.inputs) == 4 + 5 + 3 + 2
    assert set(outcome.coverage.standings) == set(PRINCIPALS)


def test_nothing_that_nobody_has_sent_before_does_harm() -> None:
    seed = secrets.randbits(32)
    print(f"make fuzz ARGS='--seed {seed} --inputs 1000'")
    outcome = Runner(seed).play(0, 1000)
    assert not outcome.faults, "\n\n".join(describe(fault, seed) for fault in outcome.faults)


def test_the_same_seed_gives_the_same_inputs_and_the_same_run() -> None:
    first, second = Runner(FIXED), Runner(FIXED)
    backwards = [second.input(number) for number in reversed(range(1000))]
    assert [first.input(number) for number in range(1000)] == backwards[::-1]
    first.play(100, 200)
    second.play(100, 200)
    assert vars(first.outcome.coverage) == vars(second.outcome.coverage)


def test_an_input_alone_is_the_one_of_the_whole_run() -> None:
    whole = Runner(FIXED)
    whole.play(0, 30)
    assert Runner(FIXED).input(37) == whole.input(37)
    assert Runner(FIXED).input(37) != Runner(FIXED + 1).input(37)


def test_an_exception_is_a_fault_with_all_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raises(*args: object) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(Router, "_goodbye", raises)
    assert main(["--seed", "1", "--inputs", "300"]) == 1
    told = capsys.readouterr()
    assert "seed 1" in told.out
    again, *_ = [line for line in told.err.splitlines() if line.startswith("again:")]  # one for each way to the fault
    assert "KeyError: 'planted'" in told.err
    number = again.split("--only ")[1].rstrip("'")
    assert main(["--seed", "1", "--only", number]) == 1
    assert "KeyError: 'planted'" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["--seed", "1", "--only", number]) == 0


def test_what_is_left_of_a_peer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipc_broker.routing.calls.Calls.worker_gone", lambda self, worker: None)
    [fault] = Runner(FIXED, {"router": (RouterTarget, 1.0)}).play(0, 200).faults
    assert "not all is as it was" in fault.error


def test_a_peer_that_is_not_served_any_more_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(session: Session, message: Goodbye, size: int) -> None:
        session.ready = False
        session._handlers = {}

    monkeypatch.setattr(Session, "_goodbye", deaf)
    faults = Runner(FIXED).play(0, 500).faults
    assert any("session_target" in fault.where for fault in faults)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such clock")
def test_endless_work_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def works(*args: object) -> None:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            pass

    monkeypatch.setattr(runner, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(Router, "disconnect", works)  # which every input comes to
    faults = Runner(FIXED, {"router": (RouterTarget, 1.0)}).play(0, 2).faults
    assert faults
    assert all(Hang.__name__ in fault.where for fault in faults)


def test_growing_memory_is_a_fault(monkeypatch: pytest.MonkeyPatch, forgetful: list[object]) -> None:
    monkeypatch.setattr(runner, "BLOCKS_FOR_NOTHING", 200)
    outcome = Runner(FIXED, {"router": (RouterTarget, 1.0)}).play(0, 500)
    assert forgetful
    [fault] = outcome.faults
    assert "memory grows" in fault.error


def test_values_are_written_in_forms_that_no_encoder_uses() -> None:
    twice = Map([("a", 1), ("a", Spelled(b"1e999", b"\xc1"))])
    assert to_json(twice) == b'{"a":1,"a":1e999}'
    assert to_msgpack(twice) == b"\x82\xa1a\x01\xa1a\xc1"
