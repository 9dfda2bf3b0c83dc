"""The plugin as users have it: test files of their own, run by a pytest that finds it among the installed packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipc_broker import Worker, connect, inline, sync, testing

pytest_plugins = ["pytester"]

# Each run below forgets the modules that it was the first to import, though parts of them are still known to others.
IMPORTED = (Worker, connect, inline, sync, testing)

OBJECT = """
import asyncio, os, sys
import pytest
from ipc_broker import Worker, connect, inline
from ipc_broker import sync

class Calculator:
    def add(self, a: int, b: int) -> int:
        return a + b

    @inline
    def end_loop(self) -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
"""

IN_MEMORY = """
    worker = Worker()
    worker.add("math", Calculator())
    async with memory_broker, worker, connect() as client:
        adding = asyncio.create_task(client.call("math", "add", [1, 2]))
        await memory_broker.clock.advance(1)
        assert await adding == 3
"""

# What pytest-asyncio and anyio do: fixtures without a loop, then the test in a loop that others use too.
RUNS_COROUTINES = """
import asyncio, inspect
import pytest

@pytest.fixture(scope="session")
def runner():
    with asyncio.Runner() as runner:
        yield runner

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        runner = pyfuncitem._request.getfixturevalue("runner")
        arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
        runner.run(pyfuncitem.obj(**arguments))
        return True
"""


def run(pytester: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(OBJECT + tests)
    return pytester.runpytest_inprocess("-W", "error", "-p", "no:cacheprovider", *arguments)


def test_it_imports_nothing_until_a_fixture_is_used() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import ipc_broker.pytest_plugin;"
        " print(*sorted(set(sys.modules) - before)); assert 'asyncio' not in set(sys.modules) - before"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["ipc_broker", "ipc_broker.pytest_plugin", "ipc_broker.version"]


def test_the_fixtures_are_told_of(pytester: pytest.Pytester) -> None:
    output = run(pytester, "", "--fixtures").stdout
    output.fnmatch_lines(["ipc_broker*", "*A real broker on a temporary socket*"])
    output.fnmatch_lines(["memory_broker*", "*A broker within the test's event loop*"])


def test_a_real_broker_is_found_by_whoever_connects(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_it(ipc_broker):
    ipc_broker.serve("math", Calculator())
    assert os.environ["BROKER_ADDR"] == ipc_broker.address
    with sync.connect() as client:
        assert client.call("math", "add", [1, 2]) == 3
    test_it.address = ipc_broker.address

def test_there_is_another_one_for_each_test(ipc_broker):
    assert ipc_broker.address != test_it.address
    with sync.connect() as client:
        assert client.objects() == ["rob"]

def test_it_is_gone_afterwards():
    assert "BROKER_ADDR" not in os.environ
    with pytest.raises(ConnectionError):
        sync.connect(test_it.address)
""",
    )
    result.assert_outcomes(passed=3)


def test_a_memory_broker_works_in_asyncio_run(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        f"""
async def scenario(memory_broker):
{IN_MEMORY}

def test_it(memory_broker):
    assert os.environ["BROKER_ADDR"] == memory_broker.address
    asyncio.run(scenario(memory_broker))
""",
    )
    result.assert_outcomes(passed=1)


def test_a_memory_broker_works_in_a_loop_that_several_tests_share(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(RUNS_COROUTINES)
    result = run(
        pytester,
        f"""
async def test_first(memory_broker):
{IN_MEMORY}

async def test_second(memory_broker):
{IN_MEMORY}

async def test_time_runs_again():
    await asyncio.sleep(0.001)
""",
    )
    result.assert_outcomes(passed=3)


def test_both_at_once(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_it(ipc_broker, memory_broker):
    ipc_broker.serve("math", Calculator())

    async def scenario():
        async with memory_broker, connect(memory_broker.address) as here, connect(ipc_broker.address) as there:
            assert await here.objects() == ["rob"]
            assert await there.objects() == ["math", "rob"]

    asyncio.run(scenario())
""",
    )
    result.assert_outcomes(passed=1)


def test_a_broker_whose_loop_dies_fails_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
def test_it(ipc_broker):
    ipc_broker.serve("math", Calculator())
    with sync.connect() as client:
        client.call("math", "end_loop")
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E*IPCError: the broker of this test died: its event loop ended with SystemExit(3)"])


def test_a_test_that_stands_still_fails_where_it_waits(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
async def scenario(memory_broker):
    async with memory_broker, connect(name="caller") as client:
        memory_broker.stall("caller")
        await client.call("rob", "ping", timeout=3)

def test_it(memory_broker):
    memory_broker.clock.patience = 0.01
    asyncio.run(scenario(memory_broker))
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '*await client.call("rob", "ping", timeout=3)',
            "E*DeadlineExceeded: *",
            "E*the test stood still for 0.01 s at *.py:* (scenario): its clock is at 0 s*; 'caller' is stalled",
        ]
    )


def test_many_processes_have_brokers_of_their_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # without those of others they start faster
    pytester.makepyfile(
        OBJECT
        + """
@pytest.mark.parametrize("number", range(8))
def test_it(ipc_broker, number):
    ipc_broker.serve("math", Calculator())
    with sync.connect() as client:
        assert client.call("math", "add", [number, 1]) == number + 1
"""
    )
    plugins = ("-p", "xdist", "-p", "ipc_broker.pytest_plugin")
    pytester.runpytest_subprocess("-W", "error", *plugins, "-n", "2").assert_outcomes(passed=8)
