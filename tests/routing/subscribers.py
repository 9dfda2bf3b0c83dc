"""What tests of events have in common: the messages with the fields of extended peers, and how they read."""

from __future__ import annotations

from typing import cast

from ipc_broker.routing.subscriptions import Subscription
from tests.memory import RawPeer
from tests.messages import call, event, publish, subscribe
from tests.routing.peers import PackedPeer, packed
from tests.seed.frames import Json, Message, frame

PLENTY = 10**9
"""More credit than any test needs."""


def subscribe_to(
    peer: RawPeer, object_name: str, topic: str, id: int, credit: int = PLENTY, **fields: Json
) -> dict[str, Json]:
    """Subscribes; gives the fields of the answer, which is the first message that comes."""
    message = subscribe(object_name, topic)
    message["Subscribe"] |= {"id": id, "credit": credit, **fields}
    peer.send(message)
    return confirmed(peer, object_name, topic, id)


def confirmed(peer: RawPeer, object_name: str, topic: str, id: int) -> dict[str, Json]:
    peer.bus.settle()
    answer = take_first(peer)["Subscribed"]
    assert answer == {**answer, "object_name": object_name, "topic": topic, "id": id}
    return answer


def take_first(peer: RawPeer) -> Message:
    """The first message that has come; what came behind it stays for `receive`."""
    frames = peer.receive_frames()
    peer.incoming(frames[0])
    [message] = peer.receive()
    for later in frames[1:]:
        peer.incoming(later)
    return message


def subscription_of(peer: RawPeer, id: int) -> Subscription:
    return peer.peer.subscriptions[id]


def event_for(id: int, object_name: str, topic: str, args: Json = None, **fields: Json) -> Message:
    message = event(object_name, topic, args)
    message["Event"] |= {"subscription": id, **fields}
    return message


def publish_with(object_name: str, topic: str, args: Json = None, **fields: Json) -> Message:
    message = publish(object_name, topic, args)
    message["Publish"] |= fields
    return message


def event_credit(id: int, size: int) -> Message:
    return {"EventCredit": {"subscription": id, "bytes": size}}


def missed(id: int, count: int) -> Message:
    return {"Missed": {"subscription": id, "count": count}}


PAUSE: Message = {"Pause": {}}
RESUME: Message = {"Resume": {}}


def size_for(peer: RawPeer, message: Message) -> int:
    """Bytes of the frame in the peer's encoding."""
    return len(packed(message) if isinstance(peer, PackedPeer) else frame(message))


def told(messages: list[Message]) -> list[Json]:
    """The values of events, also of those in batches, and "missed N" in their place; fails on anything else."""
    values: list[Json] = []
    for message in messages:
        if "Missed" in message:
            values.append(f"missed {message['Missed']['count']}")
        elif "Batch" in message:
            values += cast(list[Json], message["Batch"]["values"])
        else:
            values.append(message["Event"]["args"])
    return values


def told_in_all(told_so_far: list[Json]) -> int:
    """Events that came or were told of as missed."""
    return sum(int(one.split()[1]) if isinstance(one, str) and one.startswith("missed ") else 1 for one in told_so_far)


def assert_in_their_places(told_so_far: list[Json]) -> None:
    """Of events that begin with their number in six digits: each count stands in the place of those that are missing."""
    place = 0
    for value in told_so_far:
        if isinstance(value, str) and value.startswith("missed "):
            place += int(value.split()[1])
        else:
            assert int(str(value)[:6]) == place
            place += 1


def ask(peer: RawPeer, method: str, **args: Json) -> Json:
    """Calls `rob`; gives the value of the answer, which has to be the last message that comes."""
    peer.send(call(f"{peer.prefix}{method}", "rob", method, dict(args)))
    peer.bus.settle()
    answer = peer.receive()[-1]
    assert "Result" in answer, answer
    return answer["Result"]["value"]


def unsubscribe(peer: RawPeer, id: int) -> None:
    peer.send(call(f"{peer.prefix}unsubscribe", "rob", "unsubscribe", {"id": id}))
    *_, answer = peer.receive()
    assert answer["Result"]["value"] is True


def take(peer: RawPeer, id: int, events: Message, count: int) -> None:
    """Gives credit for so many events like this one."""
    peer.send(event_credit(id, count * size_for(peer, events)))
