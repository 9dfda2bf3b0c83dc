from __future__ import annotations

import sys

import pytest

from ipc_broker.cli.children import Child, ChildFailed
from tests.cli.programs import PATIENCE, environment


def python(code: str) -> Child:
    return Child("the program", ["-c", code], environment())


def test_lines_of_both_streams() -> None:
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three °C')"
    with Child("the program", ["-X", "utf8", "-c", code], environment()) as child:
        assert child.wait_for_line("two", PATIENCE) == "two"
        assert child.wait(PATIENCE) == 0
        assert child.said == ["one", "two", "three °C"]


def test_a_process_that_ends_instead() -> None:
    with (
        python("print('hello')") as child,
        pytest.raises(ChildFailed, match=r"the program ended before it said 'bye'; it said:\n   hello"),
    ):
        child.wait_for_line("bye", PATIENCE)


def test_a_process_that_stays_silent() -> None:
    with python("input()") as child, pytest.raises(ChildFailed, match=r"said nothing|ended before"):
        child.wait_for_line("bye", PATIENCE)
    with python("import time; time.sleep(60)") as child:
        with pytest.raises(ChildFailed, match=r"the program gave no sign of its end within 0.05 s; it said: nothing"):
            child.wait(0.05)
        assert child.stop() != 0


def test_leaving_the_block_stops_it() -> None:
    with python("import time; print('ready', flush=True); time.sleep(60)") as child:
        child.wait_for_line("ready", PATIENCE)
    assert child.stop() == (1 if sys.platform == "win32" else -15)


def test_its_end_may_be_waited_for_again() -> None:
    with python("print('hello')") as child:
        assert [child.wait(PATIENCE) for _ in range(2)] == [0, 0]
        assert "it said:\n   hello" in str(child.failure("ended"))
        assert child.wait(0.0) == 0
