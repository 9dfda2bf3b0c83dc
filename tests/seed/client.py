"""A stand-in for the seed's client: one call in flight, and the next frame that comes is its answer."""

import time
import uuid
from types import TracebackType
from typing import Self

from tests.seed.decoding import InvalidMessage, decode_message
from tests.seed.frames import Json, Message, frame
from tests.seed.stream import FrameStream

POLL_INTERVAL = 0.1  # how often the seed asks in wait_for_object, in seconds


class UnexpectedFrame(AssertionError):
    """Another frame came where the seed's client takes the next one for its answer."""


class SeedClient:
    """A blocking client. Every wait is for `timeout` seconds at most, then TimeoutError."""

    def __init__(self, address: str, *, timeout: float = 5.0) -> None:
        self.timeout = timeout
        self._stream = FrameStream(address, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()

    def end_sending(self) -> None:
        """Half-closes the connection: answers can still come."""
        self._stream.end_sending()

    def send_bytes(self, data: bytes) -> None:
        self._stream.send_bytes(data, self.timeout)

    def send(self, message: Message) -> None:
        self.send_bytes(frame(message))

    def read_frame(self, timeout: float | None = None) -> bytes:
        """The next frame, length prefix included. Raises TimeoutError, ConnectionEnded or OverlongFrame."""
        return self._stream.read_frame(self.timeout if timeout is None else timeout)

    def read_message(self, timeout: float | None = None) -> Message:
        """The next frame's message; UnexpectedFrame when the seed would not understand it."""
        received = self.read_frame(timeout)
        try:
            return decode_message(received[4:])
        except InvalidMessage as error:
            raise UnexpectedFrame(f"no message of the seed's: {received!r}: {error}") from error

    def call(
        self,
        object_name: str,
        method: str,
        args: Json = None,
        *,
        call_id: str | None = None,
        timeout: float | None = None,
    ) -> Message:
        """The next message, which must be the `Result` or `Error` of this call."""
        call_id = call_id or str(uuid.uuid4())
        fields: dict[str, Json] = {"call_id": call_id, "object_name": object_name, "method": method, "args": args}
        self.send({"Call": fields})
        answer = self.read_message(timeout)
        for variant in ("Result", "Error"):
            if answer.get(variant, {}).get("call_id") == call_id:
                return answer
        raise UnexpectedFrame(f"the answer to {call_id} was expected, but this came: {answer}")

    def publish(self, object_name: str, topic: str, args: Json = None) -> None:
        self.send({"Publish": {"object_name": object_name, "topic": topic, "args": args}})

    def subscribe(self, object_name: str, topic: str) -> None:
        """Returns once the next message has confirmed it."""
        fields: dict[str, Json] = {"object_name": object_name, "topic": topic}
        self.send({"Subscribe": fields})
        self._expect({"Subscribed": fields})

    def next_event(self, timeout: float | None = None) -> dict[str, Json]:
        """The fields of the next message, which must be an `Event`. Any subscription of this connection will do."""
        message = self.read_message(timeout)
        if "Event" not in message:
            raise UnexpectedFrame(f"an event was expected, but this came: {message}")
        return message["Event"]

    def has_object(self, object_name: str) -> bool:
        self.send({"HasObject": {"object_name": object_name}})
        answer = self.read_message()
        if answer.get("HasObjectResult", {}).get("object_name") != object_name:
            raise UnexpectedFrame(f"whether {object_name!r} exists was expected, but this came: {answer}")
        return answer["HasObjectResult"]["exists"] is True

    def wait_for_object(self, object_name: str) -> None:
        """Asks again and again, as the seed's client does; TimeoutError when the object does not come."""
        deadline = time.monotonic() + self.timeout
        while not self.has_object(object_name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the object {object_name!r} did not come within {self.timeout} s")
            time.sleep(POLL_INTERVAL)

    def _expect(self, message: Message) -> None:
        received = self.read_message()
        if received != message:
            raise UnexpectedFrame(f"{message} was expected, but this came: {received}")
