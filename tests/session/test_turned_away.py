"""A broker that does not let a session in has the last word; one that only knows no hello is used as it is."""

from __future__ import annotations

import pytest

from ipc_broker.errors import CallError, Overloaded, PermissionDenied
from ipc_broker.messages import Error
from tests.messages import error
from tests.seed.frames import Message
from tests.session.scripted import ScriptedBroker


def refusal(call_id: str | None, code: str, message: str) -> Message:
    told = error(call_id, "rob", message)
    told["Error"]["code"] = code
    return told


@pytest.mark.parametrize(("code", "kind"), [("permission_denied", PermissionDenied), ("overloaded", Overloaded)])
@pytest.mark.parametrize("as_answer", [True, False])
def test_whoever_connects_learns_why(code: str, kind: type[CallError], as_answer: bool) -> None:
    broker = ScriptedBroker()
    hello = broker.accept()
    broker.give(refusal(str(hello["Call"]["call_id"]) if as_answer else None, code, "you may not"))
    assert isinstance(broker.opened.error, kind)
    assert str(broker.opened.error) == "you may not"
    assert not broker.session.ready
    assert broker.notices == []


def test_a_broker_that_knows_no_hello_is_one_of_the_seed_s() -> None:
    broker = ScriptedBroker()
    hello = broker.accept()
    broker.give(error(str(hello["Call"]["call_id"]), "rob", "No such object 'rob'"))
    assert broker.session.ready
    assert broker.session.welcome is None


def test_at_a_reconnect_it_is_told_once_until_the_session_is_let_in_again() -> None:
    broker = ScriptedBroker()
    broker.open()
    told: list[str] = []
    for message in ("revoked", "revoked", "expired", "expired"):
        broker.lose()
        broker.accept()
        broker.give(refusal(None, "permission_denied", message))
        told += [notice.message for notice in broker.notices if isinstance(notice, Error)]
        broker.notices.clear()
    assert told == ["revoked", "expired"]
    broker.lose()
    broker.open()
    broker.lose()
    broker.accept()
    broker.give(refusal(None, "permission_denied", "expired"))
    assert [notice.message for notice in broker.notices if isinstance(notice, Error)] == ["expired"]
