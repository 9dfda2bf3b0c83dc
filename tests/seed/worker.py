"""A stand-in for the seed's worker. As a process: `python -m tests.seed.worker ADDRESS [NAME...]`.

The process serves a calculator under each name (`math` without one) and prints `registered` once the broker has
confirmed them all; it runs until it is ended.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeAlias, cast

from tests.seed.decoding import InvalidMessage, decode
from tests.seed.frames import Json, OverlongFrame, frame
from tests.seed.stream import ConnectionEnded, FrameStream

SharedObject: TypeAlias = Callable[[str, Json], Json]  # method, args -> value

RECONNECT_INTERVAL = 2.0
_METHODS: dict[str, Callable[[int, int], Json]] = {
    "add": lambda a, b: {"sum": a + b},
    "mul": lambda a, b: {"product": a * b},
}


class _InvalidArgs(Exception):
    pass


def calculator(method: str, args: Json) -> Json:
    """The object `math` of the captured frames: it answers its errors as results, too."""
    if method not in _METHODS:
        return "Unknown method"
    try:
        return _METHODS[method](*_operands(args))
    except _InvalidArgs as error:
        return f"Invalid args: {error}"


def _operands(args: Json) -> tuple[int, int]:
    if isinstance(args, list) and len(args) == 2:
        return _i32(args[0]), _i32(args[1])
    if not isinstance(args, dict):
        raise _InvalidArgs(f"{_described(args)}, expected a and b")
    operands = {name: _i32(value) for name, value in args.items() if name in ("a", "b")}
    for name in ("a", "b"):
        if name not in operands:
            raise _InvalidArgs(f"missing field `{name}`")
    return operands["a"], operands["b"]


def _i32(value: Json) -> int:
    if type(value) is not int:
        raise _InvalidArgs(f"{_described(value)}, expected i32")
    if not -(2**31) <= value < 2**31:
        raise _InvalidArgs(f"invalid value: integer `{value}`, expected i32")
    return value


def _described(value: Json) -> str:
    match value:
        case None:
            return "invalid type: null"
        case bool():
            return f"invalid type: boolean `{str(value).lower()}`"
        case int():
            return f"invalid type: integer `{value}`"
        case float():
            return f"invalid type: floating point `{value}`"
        case str():
            text = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'invalid type: string "{text}"'
        case list():
            return "invalid type: sequence"
        case dict():
            return "invalid type: map"


class SeedWorker:
    """Serves from a thread while its `with` block runs, or in `run`.

    Connecting and registering go on by themselves, again after each lost connection; wait for `registered` to know
    that the broker has confirmed all names once.
    """

    def __init__(
        self,
        address: str,
        objects: Mapping[str, SharedObject] | None = None,
        *,
        reconnect_interval: float = RECONNECT_INTERVAL,
    ) -> None:
        self.registered = threading.Event()
        self.ignored: list[bytes] = []  # bodies that were no messages
        self.calls: list[dict[str, Json]] = []  # the fields of each `Call` that came
        self._address = address
        self._objects = {"math": calculator} if objects is None else dict(objects)
        self._reconnect_interval = reconnect_interval
        self._stopping = threading.Event()
        self._connecting = threading.Lock()
        self._stream: FrameStream | None = None
        self._thread = threading.Thread(target=self.run, name="seed worker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.join()

    def join(self) -> None:
        """Returns when the thread has ended."""
        self._thread.join()

    def stop(self) -> None:
        """Makes `run` return after the call that it is answering. May be called from any thread."""
        self._stopping.set()
        with self._connecting:
            if self._stream is not None:
                self._stream.interrupt()

    def run(self) -> None:
        """Serves until `stop`."""
        while not self._stopping.is_set():
            try:
                self._serve_connection()
            except (OSError, ConnectionEnded, OverlongFrame):
                self._stopping.wait(self._reconnect_interval)

    def _serve_connection(self) -> None:
        with self._connecting:
            if self._stopping.is_set():
                return
            self._stream = stream = FrameStream(self._address, timeout=5.0)
        try:
            stream.send_bytes(
                b"".join(frame({"RegisterObject": {"object_name": name}}) for name in self._objects), timeout=None
            )
            unconfirmed = set(self._objects)
            while True:
                body = stream.read_frame(timeout=None)[4:]
                try:
                    variant, fields = decode(body)
                except InvalidMessage:
                    self.ignored.append(body)
                    continue
                if variant == "Call":
                    self._answer(stream, fields)
                elif variant == "Registered":
                    unconfirmed.discard(cast(str, fields["object_name"]))
                    if not unconfirmed:
                        self.registered.set()
        finally:
            with self._connecting:
                self._stream = None
            stream.close()

    def _answer(self, stream: FrameStream, call: dict[str, Json]) -> None:
        self.calls.append(call)
        name = cast(str, call["object_name"])
        if name not in self._objects:
            return  # nobody ever answers such a call
        value = self._objects[name](cast(str, call["method"]), call["args"])
        stream.send_bytes(
            frame({"Result": {"call_id": call["call_id"], "object_name": name, "value": value}}), timeout=None
        )


def main() -> None:
    address, *names = sys.argv[1:]
    worker = SeedWorker(address, dict.fromkeys(names, calculator) or None)
    with worker:
        worker.registered.wait()
        print("registered", flush=True)
        worker.join()


if __name__ == "__main__":
    main()
