"""The seed's messages, in the form in which `tests.seed.frames.frame` writes them."""

from __future__ import annotations

from tests.seed.frames import Json, Message


def register(object_name: str) -> Message:
    return {"RegisterObject": {"object_name": object_name}}


def call(call_id: str, object_name: str, method: str, args: Json = None) -> Message:
    return {"Call": {"call_id": call_id, "object_name": object_name, "method": method, "args": args}}


def result(call_id: str, object_name: str, value: Json = None) -> Message:
    return {"Result": {"call_id": call_id, "object_name": object_name, "value": value}}


def error(call_id: str | None, object_name: str, message: str) -> Message:
    return {"Error": {"call_id": call_id, "object_name": object_name, "message": message}}


def refused(about: str, object_name: str, code: str, message: str) -> Message:
    """What an extended peer gets for a message of the type `about` that the broker does not want."""
    refusal = error(None, object_name, message)
    refusal["Error"] |= {"code": code, "type": about, "delivered": "no"}
    return refusal


def subscribe(object_name: str, topic: str) -> Message:
    return {"Subscribe": {"object_name": object_name, "topic": topic}}


def publish(object_name: str, topic: str, args: Json = None) -> Message:
    return {"Publish": {"object_name": object_name, "topic": topic, "args": args}}


def batch(object_name: str, topic: str, *values: Json) -> Message:
    return {"Batch": {"object_name": object_name, "topic": topic, "values": list(values)}}


def event(object_name: str, topic: str, args: Json = None) -> Message:
    return {"Event": {"object_name": object_name, "topic": topic, "args": args}}


def error_of(message: Message) -> dict[str, Json]:
    """The fields of an `Error`."""
    assert list(message) == ["Error"], message
    return message["Error"]
