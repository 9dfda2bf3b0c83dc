"""`rob` as a process: what it prints, where, and with which exit status."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ipc_broker.sync import connect
from ipc_broker.version import VERSION
from tests.cli.programs import PATIENCE, ROB, Ended, environment, rob, run, start_broker
from tests.seed.broker import SeedBroker, running

SUM = "\nResult:\nMap:\n   sum :: 42\n"

# Each of these would exit with 3 if it connected: nothing listens there.
WRONG = [
    ["call", "math"],
    ["call", "math", "add", "{i", "a"],
    ["call", "math", "add", "{ii}", "a", "10", "b"],
    ["call", "math", "add", "i", "10", "32"],
    ["call", "math", "add", "i", "ten"],
    ["call", "math", "add", "a=1", "b"],
    ["call", "math", "add", "s", "@/no/such/file"],
    ["call", "", "add"],
    ["call", "x" * 1025, "add"],
    ["send", "sensor"],
    ["send", "sensor", "temperature", "f", "warm"],
    ["listen", "sensor"],
    ["listen", "sensor", "temperature", "--count", "none"],
    ["monitor", "math", "add", "more"],
    ["monitor", ""],
    ["monitor", "--only", "cals"],
    ["top", "math"],
    ["top", "--interval", "0"],
    ["serve", "calendar:Calendar"],
    ["serve", "calendar.py:Calendar", "--name", "x"],
    ["serve", "calendar:Calendar", "--name", "x", "--mode", "sharde"],
    ["record"],
    ["record", "/no/such/folder/file"],
    ["replay", "/no/such/file"],
    ["mock", "/no/such/file"],
    ["list", "everything"],
    ["ping", "--timeout", "never"],
    ["call", "math", "add", "--timout", "3"],
    ["clal", "math", "add"],
]


def test_call(bus: str) -> None:
    assert rob("call", "math", "add", "{ii}", "a", "10", "b", "32", address=bus) == Ended(0, SUM, "")
    assert rob("--address", bus, "call", "math", "add", "a=10", "b=32") == Ended(0, SUM, "")
    assert rob("call", "math", "add", "(ii)", "-10", "52", address=bus) == Ended(0, SUM, "")


def test_call_finds_the_broker_in_the_environment(bus: str) -> None:
    ended = rob("call", "math", "add", "a=10", "b=32", environ=environment(BROKER_ADDR=bus))
    assert ended == Ended(0, SUM, "")


def test_call_without_arguments_sends_null(bus: str) -> None:
    assert rob("call", "echo", "back", address=bus) == Ended(0, "\nResult:\nnull\n", "")


def test_call_as_json(bus: str) -> None:
    assert rob("call", "--json", "math", "add", "a=10", "b=32", address=bus) == Ended(0, '{"sum":42}\n', "")
    ended = rob("call", "echo", "sequence", "(sf)", "grün", "-1.5", "--json", address=bus)
    assert ended == Ended(0, '["grün",-1.5]\n', "")


def test_words_are_utf8(bus: str) -> None:
    ended = rob("call", "echo", "give", "name=Grüße °C 🌡", address=bus)
    assert ended == Ended(0, '\nResult:\nMap:\n   name :: "Grüße °C 🌡"\n', "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locale's encoding for words")
def test_words_are_utf8_in_every_locale(bus: str) -> None:
    plain = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
    ended = rob("call", "echo", "give", "name=25.6°C", address=bus, environ=plain)
    assert ended == Ended(0, '\nResult:\nMap:\n   name :: "25.6°C"\n', "")


def test_words_from_stdin_and_files(bus: str, tmp_path: Path) -> None:
    ended = rob("call", "echo", "back", "(s)", "-", "--json", address=bus, stdin="25.6°C")
    assert ended == Ended(0, '"25.6°C"\n', "")
    file = tmp_path / "value.json"
    file.write_text('{"list": [1, 2]}', encoding="utf-8")
    ended = rob("call", "echo", "back", "(j)", f"@{file}", "--json", address=bus)
    assert ended == Ended(0, '{"list":[1,2]}\n', "")
    assert rob("call", "echo", "back", "(s)", "@@home", "--json", address=bus) == Ended(0, '"@home"\n', "")


def test_the_items_of_a_stream_are_printed_one_by_one(bus: str) -> None:
    assert rob("call", "math", "count", "to=2", address=bus) == Ended(0, "\nResult:\n1\n\nResult:\n2\n", "")
    assert rob("call", "math", "count", "to=2", "--json", "--stream", address=bus) == Ended(0, "1\n2\n", "")


def test_a_method_that_does_not_stream(bus: str) -> None:
    ended = rob("call", "math", "add", "{ii}", "a", "10", "b", "32", "--stream", address=bus)
    expected = "rob: math.add: 'math.add' is no stream, it has returned one value; use call() (invalid_args)\n"
    assert ended == Ended(1, "", expected)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_ends_a_stream(bus: str) -> None:
    with subprocess.Popen(
        [sys.executable, *ROB, "call", "math", "count_for_ever", "--stream", "--json", "--address", bus],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as streaming:
        assert streaming.stdout is not None
        assert [streaming.stdout.readline() for _ in range(2)] == [b"1\n", b"2\n"]
        streaming.send_signal(signal.SIGINT)
        _, errors = streaming.communicate(timeout=PATIENCE)
    assert (streaming.returncode, errors) == (0, b"")


def test_headers_travel_with_the_call(bus: str) -> None:
    ended = rob("call", "math", "tenant", "--header", "tenant=a=b", "--header", "other=", address=bus)
    assert ended == Ended(0, '\nResult:\n"a=b"\n', "")


def test_what_json_cannot_say_is_shown_all_the_same(bus: str) -> None:
    assert (
        rob("call", "echo", "binary", address=bus).output == "\nResult:\nList:\n   0 :: 2 bytes: 00 ff\n   1 :: nan\n"
    )
    assert rob("call", "echo", "binary", "--json", address=bus).output == '[{"base64":"AP8="},"nan"]\n'


def test_a_retained_event_is_there_for_who_comes_later(bus: str) -> None:
    assert rob("send", "door", "state", "s", "open", "--retain", address=bus) == Ended(0, "", "")
    ended = rob("listen", "door", "state", "--count", "1", address=bus)
    assert (ended.status, ended.output) == (0, '\nResult (retained):\n"open"\n')


def test_send_exits_once_the_event_is_routed(bus: str) -> None:
    with connect(bus) as client, client.subscribe("sensor", "temperature") as events:
        assert rob("send", "sensor", "temperature", "s", "25.6°C", address=bus) == Ended(0, "", "")
        client.drain()  # its answer comes behind all that was routed before
        assert events.pending == 1
        event = events.get(timeout=0.0)
        assert (event.object, event.topic) == ("sensor", "temperature")
        assert getattr(event, "value", None) == "25.6°C"


def test_an_event_that_the_broker_refuses(bus: str) -> None:
    expected = "rob: only the broker publishes as 'rob' (permission_denied)\n"
    assert rob("send", "rob", "x", address=bus) == Ended(1, "", expected)
    ended = rob("send", "rob", "object.lost", "s", "math", "--json", address=bus)
    assert (ended.status, ended.output) == (1, "")
    refusal = json.loads(ended.errors)
    assert (refusal["code"], refusal["object"], refusal["delivered"]) == ("permission_denied", "rob", "no")


def test_list(bus: str) -> None:
    assert rob("list", address=bus) == Ended(0, "echo\nmath\nrob\n", "")
    assert rob("list", "--json", address=bus) == Ended(0, '["echo","math","rob"]\n', "")


def test_ping(bus: str) -> None:
    ended = rob("ping", address=bus)
    assert ended.status == 0
    assert ended.output.startswith(f"{bus} answered in ")
    assert f"ipc-broker {VERSION}, process " in ended.output
    answer = json.loads(rob("ping", "--json", address=bus).output)
    assert answer.keys() == {"address", "version", "pid", "milliseconds"}
    assert (answer["address"], answer["version"]) == (bus, VERSION)
    assert answer["pid"] > 0
    assert answer["milliseconds"] > 0


def test_a_broker_of_the_rust_crate() -> None:
    with running(SeedBroker()) as broker:
        assert rob("list", address=broker.address) == Ended(0, "rob\n", "")
        assert rob("send", "sensor", "temperature", "f", "25.6", address=broker.address) == Ended(0, "", "")
        assert "the Rust crate's broker" in rob("ping", address=broker.address).output
        ended = rob("call", "ghost", "add", address=broker.address)
        assert ended.status == 1
        assert "No such object 'ghost'" in ended.errors


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ghost", "add"], "rob: No such object 'ghost' (no_such_object)\n"),
        (
            ["math", "add", "{si}", "a", "ten", "b", "32"],
            "rob: math.add: Expected `int`, got `str` - at `$.a` (invalid_args)\n",
        ),
        (
            ["math", "divide", "a=1", "b=0"],
            "rob: math.divide raised ZeroDivisionError: division by zero (remote_error)\n",
        ),
        (
            ["math", "wait", "(f)", "1", "--timeout", "0.05"],
            "rob: 'math' did not answer 'wait' within 0.05 s (deadline_exceeded)\n",
        ),
    ],
)
def test_a_call_that_fails(bus: str, words: list[str], expected: str) -> None:
    assert rob("call", *words, address=bus) == Ended(1, "", expected)


def test_a_method_that_does_not_exist(bus: str) -> None:
    ended = rob("call", "math", "subtract", address=bus)
    assert (ended.status, ended.output) == (1, "")
    assert "subtract" in ended.errors
    assert ended.errors.endswith("(no_such_method)\n")


def test_a_value_that_is_too_large(address: str) -> None:
    with start_broker("--listen", address, IPC_BROKER_LIMITS_MAX_FRAME="65536") as broker:
        broker.wait_for_line(" listens on ", PATIENCE)
        ended = rob("call", "echo", "back", "(s)", "-", address=address, stdin="x" * 70_000)
    assert (ended.status, ended.output) == (1, "")
    assert ended.errors.endswith("(too_large)\n")


def test_what_others_say_does_not_steer_the_terminal(bus: str) -> None:
    ended = rob("call", "echo", "fail", 'text="\\u001b[31mred"', address=bus)
    assert ended == Ended(1, "", "rob: echo.fail raised ValueError: \\u001b[31mred (remote_error)\n")


def test_errors_as_json(bus: str, address: str) -> None:
    ended = rob("call", "ghost", "add", "--json", address=bus)
    assert (ended.status, ended.output) == (1, "")
    assert json.loads(ended.errors) == {
        "code": "no_such_object",
        "message": "No such object 'ghost'",
        "object": "ghost",
        "method": "add",
        "data": None,
        "delivered": "no",
    }
    ended = rob("call", "math", "divide", "a=1", "b=0", "--json", address=bus)
    assert json.loads(ended.errors)["type"] == "ZeroDivisionError"
    ended = rob("call", "math", "--json", address=address)
    assert (ended.status, json.loads(ended.errors)) == (2, {"code": "usage", "message": "METHOD is missing"})
    ended = rob("list", "--json", address=address)
    assert (ended.status, json.loads(ended.errors)["code"]) == (3, "connect_failed")


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_is_found_before_connecting(words: list[str], address: str) -> None:
    ended = rob(*words, address=address)
    assert (ended.status, ended.output) == (2, "")
    *message, usage = ended.errors.splitlines()
    assert message[0].startswith("rob: ")
    assert usage.startswith("usage: rob ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serve", "calendar:Calender", "--name", "x"], "calendar has no 'Calender'; did you mean Calendar?"),
        (["replay", __file__], f"{__file__} is no recording: its first line is not what `rob record` writes"),
        (["mock", __file__], f"{__file__} is no recording: its first line is not what `rob record` writes"),
    ],
)
def test_what_a_command_is_given_to_work_with_is_looked_at_before_connecting(
    words: list[str], expected: str, address: str
) -> None:
    ended = rob(*words, address=address)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith(f"rob: {expected}")


def test_without_a_broker_nothing_is_recorded(address: str, tmp_path: Path) -> None:
    assert rob("record", str(tmp_path / "tape.jsonl"), address=address).status == 3
    assert list(tmp_path.iterdir()) == []


def test_usage_is_that_of_the_command(address: str) -> None:
    ended = rob("call", "math", address=address)
    assert ended.errors == (
        "rob: METHOD is missing\n"
        "usage: rob call OBJECT METHOD [SIGNATURE] [ARGS...] [OPTIONS]; `rob call --help` says more\n"
    )


@pytest.mark.parametrize("wrong", ["nowhere", "ftp://host:1", "tcp://host", "unix://"])
def test_an_address_that_makes_no_sense(wrong: str) -> None:
    ended = rob("call", "math", "add", address=wrong)
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors.startswith(f"rob: not an address: '{wrong}'")
    assert len(ended.errors.splitlines()) == 1


@pytest.mark.parametrize("words", [["call", "a", "b"], ["send", "a", "b"], ["listen", "a", "b"], ["list"], ["ping"]])
def test_without_a_broker(words: list[str], address: str) -> None:
    ended = rob(*words, address=address)
    assert (ended.status, ended.output) == (3, "")
    assert ended.errors.startswith(f"rob: no broker at {address}")
    assert ended.errors.endswith(f"start one with: ipc-broker --listen {address}\n")
    assert len(ended.errors.splitlines()) == 1


def test_a_broker_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        ended = rob("list", "--timeout", "0.2", address=address)
    expected = f"rob: {address} accepts connections but did not answer within 0.2 s\n"
    assert ended == Ended(3, "", expected)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_ends_a_call_quietly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, *ROB, "call", "math", "add", "--address", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
        ) as calling:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(4)  # it has asked, and waits
                calling.send_signal(signal.SIGINT)
                output, _ = calling.communicate(timeout=PATIENCE)
    assert (calling.returncode, output) == (130, b"")


def test_version() -> None:
    assert rob("--version") == Ended(0, f"rob {VERSION}\n", "")


def test_help() -> None:
    ended = rob("--help")
    assert (ended.status, ended.errors) == (0, "")
    assert "\n  listen      print events as they come\n" in ended.output
    assert "--address ADDRESS" in ended.output


def test_nothing_typed_is_wrong_usage() -> None:
    ended = rob()
    assert (ended.status, ended.output) == (2, "")
    assert "say what to do" in ended.errors


def test_log_level(bus: str) -> None:
    ended = rob("list", "--log-level", "debug", address=bus)
    assert (ended.status, ended.output) == (0, "echo\nmath\nrob\n")
    assert f"DEBUG   connected to {bus}" in ended.errors
    ended = rob("list", address=bus, environ=environment(BROKER_DEBUG="trace"))
    assert f"connected to {bus}" in ended.errors
    ended = rob("list", address=bus, environ=environment(BROKER_DEBUG="loud"))
    assert ended.status == 2
    assert "BROKER_DEBUG" in ended.errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_result_that_cannot_be_written(bus: str) -> None:
    code = (
        "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1);"
        "from ipc_broker.cli.rob import main; sys.exit(main())"
    )
    ended = run("-W", "error", "-c", code, "list", "--address", bus)
    assert ended == Ended(1, "", "rob: cannot write the result: No space left on device\n")


IMPORTED_BY_NO_CALL = {
    "argparse",
    "asyncio",
    "click",
    "dataclasses",
    "difflib",
    "inspect",
    "ipc_broker.cli.type_text",
    "ipc_broker.schemas",
    "json",
    "logging",
    "rich",
    "typing_extensions",
}
FOR_WORDS_WITHOUT_SIGNATURE = {"ipc_broker.cli.fitting", "ipc_broker.cli.live_names", "ipc_broker.cli.typed_arguments"}


@pytest.mark.parametrize(
    ("words", "further"),
    [
        (["call", "math", "add", "{ii}", "a", "10", "b", "32"], set()),
        (["call", "math", "add", "a=10", "b=32"], FOR_WORDS_WITHOUT_SIGNATURE),
        (["call", "math", "add", "10", "32"], FOR_WORDS_WITHOUT_SIGNATURE),
        (["send", "sensor", "temperature", "f", "1"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_calls_start_without_what_takes_long_to_import(bus: str, words: list[str], further: set[str]) -> None:
    code = (
        "import sys; from ipc_broker.cli.rob import main; status = main();"
        "print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    ended = run("-c", code, *words, "--address", bus)
    assert ended.status == 0
    imported = set(ended.errors.split())
    assert imported.isdisjoint(IMPORTED_BY_NO_CALL)
    assert imported & FOR_WORDS_WITHOUT_SIGNATURE == further
