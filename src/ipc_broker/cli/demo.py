"""`rob demo`: a broker, a worker, callers and a subscriber, each its own process, and what they tell each other."""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from types import FrameType

from ..sync import connect
from . import demo_worker
from .children import Child, ChildFailed
from .output import write_note
from .stage import Stage
from .words import Request

_CLIENT = """\
from ipc_broker.sync import connect

with connect() as client:
    math = client.object("math")
    print(math.add(a=10, b=32))
"""


class Unexpected(Exception):
    """A step gave something else than it should."""


def run_demo(request: Request) -> int:
    """The exit status: 0 when every step gave what it should, 1 otherwise. Leaves nothing behind."""
    with _endings_unwind():
        try:
            with _temporary_address(request.address) as address:
                _Demo(Stage(as_json=request.json), request.patience).play(address)
        except (ChildFailed, Unexpected) as error:
            write_note(f"rob: the demo failed: {error}")
            return 1
    return 0


class _Demo:
    def __init__(self, stage: Stage, timeout: float) -> None:
        self._stage = stage
        self._timeout = timeout
        # Settings that somebody keeps for a broker of their own are not for this one.
        self._environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("IPC_BROKER_") and name != "BROKER_DEBUG"
        }

    def play(self, address: str) -> None:
        stage = self._stage
        stage.opening(
            "ipc-broker: programs on one machine talk to each other",
            "What you see is real: every program below runs as a process of its own and\nis stopped at the end.",
        )
        with self._broker(address) as broker, self._worker() as worker:
            self._call_from_the_shell()
            self._call_from_python()
            self._send_an_event()
            self._provoke_errors()
            stage.begin("Stop everything", "First the worker, then the broker, which removes its socket.")
            _expect("the worker's exit status", worker.stop(), _STOPPED)
            _expect("the broker's exit status", broker.stop(), _STOPPED)
            stage.end("All processes have ended; nothing is left behind.")
        stage.closing(
            "Now you: run `ipc-broker` in one terminal and the steps above in others. The\n"
            "broker's usual address is found by itself. `rob --help` lists the commands."
        )

    @contextlib.contextmanager
    def _broker(self, address: str) -> Iterator[Child]:
        self._stage.begin(
            "Start the broker",
            "It passes on what the other programs say. This one has an address of its\n"
            "own, which the programs below find in BROKER_ADDR.",
            shell=f"ipc-broker --listen {shlex.quote(address)}",
        )
        arguments = ["-m", "ipc_broker", "--listen", address, "--log-level", "info"]
        with Child("the broker", arguments, self._environ) as broker:
            line = broker.wait_for_line(" listens on ", self._timeout)
            self._environ["BROKER_ADDR"] = line.rpartition(" listens on ")[2]
            self._stage.end(line[line.index("ipc-broker") :])  # without the time
            yield broker

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Child]:
        source = inspect.getsource(demo_worker)
        self._stage.begin(
            "Start a worker",
            'calculator.py serves an object to all others, under the name "math":',
            python=source[source.index("from ") :].replace("\n\n\n", "\n\n"),
            shell="python calculator.py",
        )
        with Child("the worker", ["-m", demo_worker.__name__], self._environ) as worker:
            with connect(self._environ["BROKER_ADDR"], timeout=self._timeout) as client:
                try:
                    client.wait_for("math", self._timeout)
                except TimeoutError as error:
                    raise worker.failure("did not register 'math'") from error
            self._stage.end("(the broker now knows the object math)")
            yield worker

    def _call_from_the_shell(self) -> None:
        self._stage.begin(
            "Call its method from the shell",
            "The broker hands the call to the worker, and the answer back.",
            shell="rob call math add a=10 b=32",
        )
        self._stage.end(self._rob("call math add a=10 b=32", output="\nResult:\nMap:\n   sum :: 42\n"))

    def _call_from_python(self) -> None:
        self._stage.begin(
            "Call it from Python",
            "caller.py uses it as if it were its own (there is an asyncio client, too):",
            python=_CLIENT,
            shell="python caller.py",
        )
        self._stage.end(self._run("the caller", ["-c", _CLIENT], status=0, output="{'sum': 42}\n"))

    def _send_an_event(self) -> None:
        self._stage.begin(
            "Subscribe to an event",
            "Whoever listens gets every event of that object and topic.",
            shell="rob listen sensor temperature --count 1",
        )
        listening = ["-m", "ipc_broker.cli.rob", "listen", "sensor", "temperature", "--count", "1"]
        with Child("the subscriber", listening, self._environ) as subscriber:
            self._stage.end(subscriber.wait_for_line("listening to ", self._timeout))
            self._stage.begin(
                "Publish one, from another process",
                "The publisher does not know who listens; the broker does.",
                shell="rob send sensor temperature f 25.6",
            )
            self._rob("send sensor temperature f 25.6")
            _expect("the subscriber's exit status", subscriber.wait(self._timeout), (0,))
            heard = subscriber.said[1:]
            _expect("what the subscriber printed", heard, (["", "Result:", "25.6"],))
            self._stage.end("(the subscriber prints)\n" + "\n".join(heard))

    def _provoke_errors(self) -> None:
        self._stage.begin(
            "See a failure",
            "Every call ends: with its result, or with one clear error.",
            shell="rob call ghost add a=10 b=32",
        )
        self._stage.end(self._rob("call ghost add a=10 b=32", status=1, output="No such object 'ghost'"))
        self._stage.begin(
            "See another",
            "Arguments are checked against the method's type hints: the worker checks all,\nand rob before it calls.",
            shell="rob call math add a=ten b=32",
        )
        self._stage.end(self._rob("call math add a=ten b=32", status=2, output="an integer is expected, given 'ten'"))

    def _rob(self, words: str, *, status: int = 0, output: str = "") -> str:
        return self._run(f"rob {words}", ["-m", "ipc_broker.cli.rob", *words.split()], status=status, output=output)

    def _run(self, name: str, arguments: list[str], *, status: int, output: str) -> str:
        """What the process printed: exactly `output` when it succeeds, `output` and more when it fails."""
        with Child(name, arguments, self._environ) as child:
            ended = child.wait(self._timeout)
            said = "".join(f"{line}\n" for line in child.said)
        _expect(f"the exit status of {name}", ended, (status,))
        if said != output if status == 0 else output not in said:
            raise Unexpected(f"{name} printed {said!r}, expected {output!r}")
        return said


# On Windows processes can only be ended, not asked to stop.
_STOPPED = (0,) if sys.platform != "win32" else (0, 1)


def _expect(what: str, given: object, expected: tuple[object, ...]) -> None:
    if given not in expected:
        raise Unexpected(f"{what} is {given!r}, expected {expected[0]!r}")


@contextlib.contextmanager
def _temporary_address(chosen: str | None) -> Iterator[str]:
    if chosen is not None:
        yield chosen
    elif sys.platform == "win32":
        yield f"pipe://rob_demo_{uuid.uuid4().hex}"
    else:
        with tempfile.TemporaryDirectory(prefix="rob-demo-") as folder:
            yield f"unix://{folder}/bus.sock"
            if os.listdir(folder):
                raise Unexpected(f"the broker left its socket behind in {folder}")


@contextlib.contextmanager
def _endings_unwind() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, stop the processes too, as Ctrl-C does."""

    def unwind(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    numbers = [signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = [(number, signal.signal(number, unwind)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
