"""Who comes in: those who are let in by name, strangers with a token, and nobody else."""

from __future__ import annotations

import pytest

from ipc_broker.config import Limits, Quotas
from ipc_broker.routing.gatekeeper import LOG_AGAIN, MOST_STRANGERS, TOKEN_WITHIN
from ipc_broker.security.policy_file import parse_policy
from ipc_broker.security.principal import Principal
from ipc_broker.security.tokens import ID_BYTES, SECRET_BYTES, TokenRecord, Tokens, make_token
from tests.memory import Bus, RawPeer, extended_peer
from tests.messages import call, publish, register, result, subscribe
from tests.routing.peers import error_from, json_peer, stats
from tests.security.people import ALICE, ROOT
from tests.seed.frames import Message, frame

TODAY = 1_800_000_000.0
NEEDS_TOKEN = "this address needs a token (token=, or BROKER_TOKEN) or a client certificate"
REVOKED = "the token 'ci' was revoked, changed or has expired"
DENIED = "permission_denied"


def made(name: str, *, lifetime: float | None = None, role: str | None = None) -> tuple[str, TokenRecord]:
    random = name.encode().ljust(ID_BYTES + SECRET_BYTES, b"-")
    return make_token(name, TODAY, random, lifetime=lifetime, role=role)


CI, CI_RECORD = made("ci", lifetime=60, role="builder")
FOR_EVER, FOR_EVER_RECORD = made("for-ever")


@pytest.fixture
def bus() -> Bus:
    bus = Bus()
    bus.router.gatekeeper.replace_tokens(Tokens([CI_RECORD, FOR_EVER_RECORD]), TODAY, bus.now)
    return bus


def stranger(bus: Bus) -> RawPeer:
    return RawPeer(bus, principal=None)


def last_word(peer: RawPeer) -> tuple[str, str]:
    """What it is told before its connection ends."""
    peer.prefix = peer.prefix or "so that all fields are shown"
    *_, answer = peer.receive()
    assert peer.ended
    assert peer.peer not in peer.bus.router.peers
    refusal = error_from(answer)
    return refusal.code, refusal.message


# Strangers


@pytest.mark.parametrize(
    "message",
    [
        call("1", "rob", "ping"),
        call("1", "math", "hello"),
        publish("a", "b"),
        subscribe("a", "b"),
        register("a"),
        result("1", "a"),
        {"HasObject": {"object_name": "math"}},
        {"RegisterService": {"object_name": "a", "service_name": "b"}},
        {"no": "message"},
    ],
    ids=lambda message: next(iter(message)),
)
def test_whatever_a_stranger_says_but_hello_ends_its_connection(bus: Bus, message: Message) -> None:
    json_peer(bus, "math")
    peer = stranger(bus)
    peer.send(message, register("mine"), call("2", "rob", "hello", {"token": CI}))
    assert last_word(peer) == (DENIED, NEEDS_TOKEN)
    assert list(bus.router.names) == ["math"]
    assert bus.router.totals.refused_connections == 1


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        ({}, "this address needs a token: connect with token=, or set BROKER_TOKEN"),
        ({"token": "ipcb_0_0"}, "this broker does not know the token, or it was revoked"),
        ({"token": CI[:-1]}, "this broker does not know the token, or it was revoked"),
    ],
)
def test_a_stranger_without_a_token_that_holds(bus: Bus, hello: dict[str, str], why: str) -> None:
    peer = stranger(bus)
    peer.prefix = "so that all fields are shown"
    peer.send(call("h", "rob", "hello", hello))  # type: ignore[arg-type]  # it is JSON
    [answer] = peer.receive()
    refusal = error_from(answer)
    assert (refusal.call_id, refusal.code, refusal.delivered, refusal.message) == ("h", DENIED, "no", why)
    assert peer.ended


@pytest.mark.parametrize("hello", [{"encodings": ["cbor"]}, {"max_frame": 1}, {"name": 5}, [1]])
def test_a_hello_that_makes_no_sense_lets_no_stranger_stay(bus: Bus, hello: object) -> None:
    peer = stranger(bus)
    peer.send(call("h", "rob", "hello", hello))  # type: ignore[arg-type]  # it is JSON
    [answer] = peer.receive()
    assert "Error" in answer
    assert peer.ended


def test_hello_comes_alone(bus: Bus) -> None:
    peer = stranger(bus)
    peer.send(call("h", "rob", "hello", {"token": CI}), register("mine"))
    [answer] = peer.receive()
    assert "hello comes once" in str(answer["Error"]["message"])
    assert peer.ended
    assert len(bus.router.names) == 0


def test_a_stranger_with_a_token_is_who_it_was_made_for(bus: Bus) -> None:
    peer = stranger(bus)
    assert "Result" in peer.hello(token=CI)
    assert peer.peer.principal == Principal(token="ci", role="builder")
    assert peer.peer.account is not None
    assert peer.peer.account.name == "token:ci"
    peer.send(call(f"{peer.prefix}1", "rob", "measure"))
    assert error_from(peer.receive()[0]).message.startswith("token 'ci' may not look at what others do")
    peer.send(call(f"{peer.prefix}2", "rob", "ping"))
    assert peer.receive() == [result(f"{peer.prefix}2", "rob", "pong")]


def test_a_stranger_that_says_nothing_has_to_go(bus: Bus) -> None:
    silent, slow = stranger(bus), stranger(bus)
    slow.send_bytes(frame(call("h", "rob", "hello", {"token": CI}))[:20])
    bus.advance(TOKEN_WITHIN - 1)
    late = stranger(bus)
    known = stranger(bus)
    known.hello(token=CI)
    bus.advance(1.5)
    for peer in (silent, slow):
        assert last_word(peer) == (DENIED, f"no token was shown within {TOKEN_WITHIN:g} s")
    assert not late.ended
    bus.advance(TOKEN_WITHIN)
    assert late.ended
    assert not known.ended
    known.disconnect()
    bus.advance(2)
    bus.assert_empty()


def test_only_so_many_strangers_may_stand_at_the_door(bus: Bus) -> None:
    strangers = [stranger(bus) for _ in range(MOST_STRANGERS)]
    refused = stranger(bus)
    limit = f"{MOST_STRANGERS} connections have yet to show their tokens, which is the limit; try again"
    assert last_word(refused) == ("overloaded", limit)
    assert not RawPeer(bus, principal=ALICE).peer.closing
    strangers[0].hello(token=CI)
    assert not stranger(bus).peer.closing


def test_strangers_hide_nothing_from_those_who_look_at_departures(bus: Bus) -> None:
    for _ in range(3):
        stranger(bus).disconnect()
    assert len(bus.router.departures) == 0
    stranger_with_token = stranger(bus)
    stranger_with_token.hello(token=CI)
    stranger_with_token.disconnect()
    assert len(bus.router.departures) == 1


def test_what_turns_many_away_is_logged_now_and_then(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        peer = stranger(bus)
        peer.send(register("a"))
        bus.settle()
    assert [record.getMessage() for record in caplog.records] == [f"connection 1 is turned away: {NEEDS_TOKEN}"]
    bus.advance(LOG_AGAIN)
    peer = stranger(bus)
    peer.send(register("a"))
    bus.settle()
    assert len(caplog.records) == 2


# Those who are known


def test_who_may_not_come_in_is_told_once_and_clearly(bus: Bus) -> None:
    why = "user 'bob' may not use this broker"
    peer = RawPeer(bus, principal=None, refusal=why)
    peer.send(call("h", "rob", "hello"), register("mine"))
    assert last_word(peer) == (DENIED, why)
    assert len(bus.router.names) == 0
    assert stats(extended_peer(bus))["totals"]["refused_connections"] == 1


def test_who_is_known_may_show_a_token_too(bus: Bus) -> None:
    peer = RawPeer(bus, principal=ALICE)
    assert "Result" in peer.hello(token=CI)
    assert peer.peer.principal == Principal(1000, "alice", ALICE.groups, "ci", "builder")
    owner = RawPeer(bus, principal=ROOT)
    assert "Result" in owner.hello(token=CI)
    assert owner.peer.handlers is bus.router.handlers


def test_who_is_known_and_shows_a_wrong_token_is_not_let_in_as_less_than_it_wants(bus: Bus) -> None:
    for who in (ALICE, ROOT):
        peer = RawPeer(bus, principal=who)
        peer.send(call("h", "rob", "hello", {"token": "wrong"}))
        assert last_word(peer) == (DENIED, "this broker does not know the token, or it was revoked")


@pytest.mark.parametrize(
    "token", ["x" * 1025, CI + "x" * 1000, CI + "\n", "\0"], ids=["long", "longer", "line", "zero"]
)
def test_a_token_of_any_form_is_a_wrong_one(bus: Bus, token: str) -> None:
    """Were such a hello none, its peer would stay, as whom it was known before."""
    peer = RawPeer(bus, principal=ROOT)
    peer.send(call("h", "rob", "hello", {"token": token}))
    assert last_word(peer) == (DENIED, "this broker does not know the token, or it was revoked")


@pytest.mark.parametrize("wish", [{"encodings": ["none"]}, {"max_frame": 1}], ids=["encoding", "frame"])
def test_nobody_stays_without_the_token_that_they_showed(bus: Bus, wish: Message) -> None:
    peer = RawPeer(bus, principal=ROOT)
    peer.send(call("h", "rob", "hello", {"token": CI, **wish}))
    assert last_word(peer)[0] == "invalid_args"
    without = RawPeer(bus, principal=ROOT)
    without.send(call("h", "rob", "hello", dict(wish)))
    assert "Error" in without.receive()[0]
    assert not without.ended, "a program that knows less stays with the seed's protocol"


def test_connections_of_a_token_have_a_quota() -> None:
    bus = Bus(quotas=Quotas(connections=2))
    bus.router.gatekeeper.replace_tokens(Tokens([CI_RECORD, FOR_EVER_RECORD]), TODAY, bus.now)
    for _ in range(2):
        assert "Result" in stranger(bus).hello(token=CI)
    refused = stranger(bus)
    refused.send(call("h", "rob", "hello", {"token": CI}))
    quota = "all connections of token 'ci' together have 2 connections, the quota (quotas.connections)"
    assert last_word(refused) == ("overloaded", quota)
    assert "Result" in stranger(bus).hello(token=FOR_EVER)
    for _ in range(2):
        one = RawPeer(bus, principal=ALICE)
        assert "Result" in one.hello(token=CI), "a user's connections are the user's, and counted already"


# Tokens that hold no longer


def with_token(bus: Bus, token: str) -> RawPeer:
    peer = stranger(bus)
    assert "Result" in peer.hello(token=token)
    return peer


def test_a_token_that_is_revoked_ends_its_connections(bus: Bus) -> None:
    worker, other, known = with_token(bus, CI), with_token(bus, FOR_EVER), RawPeer(bus, principal=ALICE)
    known.hello(token=CI)
    worker.register("math")
    caller = extended_peer(bus)
    caller.send(call(f"{caller.prefix}1", "math", "add"))
    worker.receive()
    bus.router.gatekeeper.replace_tokens(Tokens([FOR_EVER_RECORD]), TODAY, bus.now)
    bus.flush()
    assert last_word(worker) == (DENIED, REVOKED)
    assert last_word(known) == (DENIED, REVOKED)
    assert not other.ended
    assert error_from(caller.receive()[0]).code == "worker_lost"
    assert "Error" in stranger(bus).hello(token=CI)
    assert "Result" in stranger(bus).hello(token=FOR_EVER)


def test_of_a_connection_that_is_gone_nothing_is_kept(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    peer = with_token(bus, CI)
    peer.disconnect()
    errors = bus.router.totals.errors
    bus.router.gatekeeper.replace_tokens(Tokens(), TODAY, bus.now)
    assert bus.router.totals.errors == errors
    assert "is disconnected" not in caplog.text


def test_a_token_whose_role_is_another_now_is_another_token(bus: Bus) -> None:
    peer = with_token(bus, CI)
    _, changed = made("ci", lifetime=60, role="visitor")
    bus.router.gatekeeper.replace_tokens(Tokens([changed]), TODAY, bus.now)
    bus.flush()
    assert last_word(peer) == (DENIED, REVOKED)
    again = with_token(bus, CI)
    assert again.peer.principal == Principal(token="ci", role="visitor")


def test_a_token_that_expires_ends_its_connections(bus: Bus) -> None:
    peer, other = with_token(bus, CI), with_token(bus, FOR_EVER)
    for _ in range(59):
        bus.advance(1)
        bus.router.gatekeeper.look(TODAY + (bus.now - 1000), bus.now)
        bus.flush()
    assert not peer.ended
    bus.advance(1)
    assert "has expired; make another" in str(stranger(bus).hello(token=CI)["Error"]["message"])
    bus.router.gatekeeper.look(TODAY + 60, bus.now)
    bus.flush()
    assert last_word(peer) == (DENIED, REVOKED)
    assert not other.ended


def test_a_clock_that_is_set_anew_is_heeded(bus: Bus) -> None:
    """Also after the machine has slept, during which the router's own time stands still."""
    peer = with_token(bus, CI)
    bus.router.gatekeeper.look(TODAY - 1000, bus.now)
    bus.flush()
    assert not peer.ended
    bus.router.gatekeeper.look(TODAY + 3600, bus.now)
    bus.flush()
    assert last_word(peer) == (DENIED, REVOKED)
    assert "has expired" in str(stranger(bus).hello(token=CI)["Error"]["message"])


def test_a_policy_goes_by_tokens_and_roles(bus: Bus) -> None:
    text = '[[rule]]\nname = "builders"\nroles = "builder"\ncall = "builds.*"\n'
    bus.router.gatekeeper.replace_policy(parse_policy(text, "policy.toml"), bus.now)
    json_peer(bus, "builds")
    builder, other = with_token(bus, CI), with_token(bus, FOR_EVER)
    builder.send(call(f"{builder.prefix}1", "builds", "start"))
    assert builder.receive() == []
    other.send(call(f"{other.prefix}1", "builds", "start"))
    assert error_from(other.receive()[0]).message == (
        "token 'for-ever' may not call 'builds.start': the default of policy.toml: what no rule allows is denied"
    )


def test_the_limit_of_connections_comes_first() -> None:
    bus = Bus(Limits(connections=1))
    stranger(bus)
    assert last_word(stranger(bus))[1] == "this broker has 1 connections, which is the limit (connections)"
