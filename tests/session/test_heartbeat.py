"""A session answers the broker's questions whether it is there, and notices a broker that asks no more."""

from __future__ import annotations

import pytest

from tests.session.scripted import ScriptedBroker

FEATURES = ["multiplex", "heartbeat"]


@pytest.fixture
def silences(broker: ScriptedBroker) -> list[str]:
    silences: list[str] = []
    broker.session.on_silence = silences.append
    return silences


@pytest.fixture
def broker() -> ScriptedBroker:
    return ScriptedBroker(encodings=("json",))


def test_it_answers_at_once(broker: ScriptedBroker) -> None:
    broker.open(features=FEATURES, heartbeat_ms=15_000)  # type: ignore[arg-type]
    broker.give({"Ping": {}})
    assert broker.sent() == [{"Pong": {}}]


def test_a_broker_that_says_nothing_is_taken_for_gone(broker: ScriptedBroker, silences: list[str]) -> None:
    broker.open(features=FEATURES, heartbeat_ms=8000)  # type: ignore[arg-type]
    for now in (2.0, 4.0):
        assert broker.session.next_deadline() == now
        broker.session.handle_timer(now)
    assert silences == []
    broker.session.handle_timer(6.0)
    assert silences == ["nothing has come from it for 8 s"]
    broker.lose()
    assert broker.session.next_deadline() is None


def test_a_process_that_was_frozen_does_not_take_its_own_time_for_the_brokers(
    broker: ScriptedBroker, silences: list[str]
) -> None:
    broker.open(features=FEATURES, heartbeat_ms=8000)  # type: ignore[arg-type]
    broker.session.handle_timer(4000.0)
    broker.give({"Ping": {}})
    broker.session.handle_timer(4002.0)
    assert silences == []


@pytest.mark.parametrize("agreed", [{"features": ["multiplex"], "heartbeat_ms": 8000}, {"features": FEATURES}])
def test_without_the_agreement_nothing_is_expected(
    broker: ScriptedBroker, silences: list[str], agreed: dict[str, object]
) -> None:
    broker.open(**agreed)  # type: ignore[arg-type]
    assert broker.session.next_deadline() is None
    broker.session.handle_timer(1000.0)
    assert silences == []
