"""Everything that a document shows is tried: programs and commands are run, messages are spoken, links are followed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from ipc_broker import events, messages
from ipc_broker.config import BrokerConfig
from ipc_broker.messages import Invalid, Message
from ipc_broker.protocol.connection import Connection, Role
from ipc_broker.protocol.framing import HEADER_SIZE, write_length
from ipc_broker.protocol.payload import encode_payload
from tests.docs.blocks import DOCUMENTS, ROOT, Block, blocks_of, blocks_of_kind
from tests.docs.conversations import Conversation
from tests.docs.stories import play, stories

STORIES = [
    pytest.param(blocks, id=f"{document.stem}-{section}")
    for document in DOCUMENTS
    for section, blocks in stories(blocks_of(document))
]
# `sh` is what sets the project up, and `text` what nobody can run.
KINDS = {"python", "console", "wire", "json", "hex", "toml", "sh", "text"}
_HEX_LINE = re.compile(r"((?:[0-9a-f]{2} )+) +(\S.*)")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_PROTOCOL = ROOT / "docs" / "protocol.md"


def blocks(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in blocks_of_kind(kind)])


def received(data: bytes) -> tuple[Message, Role]:
    """The one message in the bytes, and the end that may receive it."""
    for role in Role:
        [(message, frame)] = Connection(role, lambda: None).receive_data(data)
        assert frame == data
        if isinstance(message, events.Event):  # a client gets its value decoded
            return messages.Event(message.object, message.topic, encode_payload(message.value)), role
        if not isinstance(message, Invalid | events.Gap):
            return message, role
    raise AssertionError(f"neither end takes {data!r} for a message")


def sent(message: Message, role: Role) -> bytes:
    connection = Connection(role, lambda: None)
    connection.send(message)
    return connection.data_to_send()


def bytes_of(block: Block) -> bytes:
    data = b""
    for line in block.text.splitlines():
        found = _HEX_LINE.fullmatch(line)
        assert found is not None, f"{block.where}: bytes in hex and as text are expected: {line}"
        row = bytes.fromhex(found[1])
        assert found[2] == "".join(chr(byte) if 32 < byte < 127 else "." for byte in row)
        data += row
    return data


def test_blocks_are_of_known_kinds() -> None:
    assert {block.kind for document in DOCUMENTS for block in blocks_of(document)} <= KINDS


@pytest.mark.parametrize("story", STORIES)
def test_what_is_shown_runs(story: list[Block]) -> None:
    play(story)


@blocks("wire")
def test_the_broker_answers_as_shown(block: Block) -> None:
    Conversation().replay(block.text)


@blocks("hex")
def test_a_frame_shown_in_hex_is_a_message_and_encoded_so_again(block: Block) -> None:
    data = bytes_of(block)
    message, role = received(data)
    assert sent(message, Role.CLIENT if role is Role.BROKER else Role.BROKER) == data


@blocks("json")
def test_a_body_shown_is_a_message_with_all_its_fields(block: Block) -> None:
    body = block.text.encode()
    [(message, frame)] = Connection(Role.BROKER, lambda: None).receive_data(write_length(len(body)) + body)
    assert not isinstance(message, Invalid)
    assert json.loads(frame[HEADER_SIZE:]) == json.loads(body)


@blocks("toml")
def test_settings_shown_are_settings(block: Block) -> None:
    assert msgspec.convert(tomllib.loads(block.text), BrokerConfig) != BrokerConfig()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    missing = [
        link for link in _LINK.findall(document.read_text(encoding="utf-8")) if not (document.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_targets_of_make_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)`?", document.read_text(encoding="utf-8"))) <= targets
