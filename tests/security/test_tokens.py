"""Tokens: made, kept as hashes, verified, expired and revoked."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc_broker.errors import ConfigError
from ipc_broker.security.tokens import (
    ID_BYTES,
    SECRET_BYTES,
    TokenRefused,
    Tokens,
    format_tokens,
    make_token,
    parse_tokens,
)

NOW = 1_800_000_000.0
RANDOM = bytes(range(ID_BYTES + SECRET_BYTES))
SOURCE = "/etc/tokens.toml"
UNKNOWN = "this broker does not know the token, or it was revoked"

labels = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", fullmatch=True)


def refusal(tokens: Tokens, token: str, now: float = NOW) -> str:
    with pytest.raises(TokenRefused) as caught:
        tokens.verify(token, now)
    return str(caught.value)


def test_a_token_is_its_id_and_a_secret_of_which_only_the_hash_is_kept() -> None:
    token, record = make_token("ci", NOW, RANDOM, lifetime=60, role="builder")
    prefix, identifier, secret = token.split("_")
    assert (prefix, identifier, secret) == ("ipcb", RANDOM[:ID_BYTES].hex(), RANDOM[ID_BYTES:].hex())
    assert (record.name, record.id, record.role) == ("ci", identifier, "builder")
    assert (record.created, record.expires) == (int(NOW), int(NOW) + 60)
    assert secret not in format_tokens([record])
    assert Tokens([record]).verify(token, NOW) == record


def test_a_wrong_token_is_refused_without_saying_what_is_wrong_with_it() -> None:
    token, record = make_token("ci", NOW, RANDOM)
    other, _ = make_token("ci", NOW, RANDOM[::-1])
    tokens = Tokens([record])
    _, identifier, secret = token.split("_")
    wrong = [
        *("", "_", "__", "ipcb", "ipcb__", f"ipcb_{identifier}_", f"ipcb__{secret}", f"x_{identifier}_{secret}"),
        *(f"ipcb_{identifier}_{secret[:-1]}", f"ipcb_{identifier}_{secret}0", f"ipcb_{identifier}_{secret.upper()}"),
        *(other, token + "_", " " + token, token + "\n", "ipcb_" + "é" * 1000, f"ipcb_{identifier}_\ud800"),
        *(f"ipcb_{identifier}_{record.hash}", record.hash),
    ]
    assert {refusal(tokens, one) for one in wrong} == {UNKNOWN}
    assert refusal(Tokens(), token) == UNKNOWN


def test_an_expired_token_is_refused_to_whoever_has_it() -> None:
    token, record = make_token("ci", NOW, RANDOM, lifetime=60)
    tokens = Tokens([record])
    assert tokens.verify(token, NOW + 59.9) == record
    assert refusal(tokens, token, NOW + 60) == (
        "the token 'ci' has expired; make another: ipc-broker token create NAME"
    )
    assert refusal(tokens, token[:-1] + "x", NOW + 60) == UNKNOWN


def test_whether_a_token_that_was_shown_still_holds() -> None:
    _, record = make_token("ci", NOW, RANDOM, lifetime=60)
    assert Tokens([record]).still_holds(record, NOW + 59)
    assert not Tokens([record]).still_holds(record, NOW + 60)
    assert not Tokens().still_holds(record, NOW)
    assert not Tokens([msgspec.structs.replace(record, role="other")]).still_holds(record, NOW), "its rights changed"


@given(st.lists(st.tuples(labels, st.none() | labels, st.none() | st.integers(0, 10**9)), unique_by=lambda one: one[0]))
def test_what_is_written_is_read(made: list[tuple[str, str | None, int | None]]) -> None:
    records = []
    for number, (name, role, lifetime) in enumerate(made):
        random = number.to_bytes(ID_BYTES + SECRET_BYTES, "little")
        records.append(make_token(name, NOW, random, lifetime=lifetime, role=role)[1])
    assert parse_tokens(format_tokens(records), SOURCE).records == tuple(records)


@pytest.mark.parametrize("name", ["", "a b", "-a", 'a"b', "a\n", "é", "a" * 65, "a/b"])
def test_a_name_that_would_need_quoting_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name: up to 64 letters, digits and"):
        make_token(name, NOW, RANDOM)
    with pytest.raises(ValueError, match="is no role"):
        make_token("ci", NOW, RANDOM, role=name)


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="a token needs 38 random bytes, not 37"):
        make_token("ci", NOW, RANDOM[1:])


def entry(**changes: object) -> str:
    fields: dict[str, object] = {"name": "ci", "id": "0" * 12, "hash": "0" * 64, "created": 1} | changes
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in fields.items()]
    return "\n".join(["[[token]]", *lines, ""])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[token]", " is no TOML: "),
        ("[[tokens]]\nname = 1", ": Object contains unknown field `tokens`"),
        ('[[token]]\nname = "ci"', ": Object missing required field `id` - at `$.token[0]`"),
        (entry(secret="x"), ": Object contains unknown field `secret` - at `$.token[0]`"),
        (entry(name="a b"), "- at `$.token[0].name`"),
        (entry(id="abc"), "- at `$.token[0].id`"),
        (entry(hash="é"), "- at `$.token[0].hash`"),
        (entry(hash="A" * 64), "- at `$.token[0].hash`"),
        (entry(created=-1), "- at `$.token[0].created`"),
        (entry(expires="soon"), "- at `$.token[0].expires`"),
        (entry() + entry(id="1" * 12), ": two tokens have the name 'ci'"),
        (entry() + entry(name="cd"), ": two tokens have the id '000000000000'"),
    ],
)
def test_a_mistake_in_the_file_is_refused_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tokens(text, SOURCE)
    assert caught.value.message.startswith(SOURCE)
    assert expected in caught.value.message
