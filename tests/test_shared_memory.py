"""Memory that another process opens by what it was told, and nothing else in its place."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ipc_broker.shared_memory import AVAILABLE, TOKEN, SharedMemory, make_memory, open_memory
from tests.cli.programs import run

SIZE = 8192

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="only Linux has memory that leaves nothing behind")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def opened(memory: SharedMemory, token: str = "", size: int = SIZE) -> None:
    open_memory(os.getpid(), memory.descriptor, token or memory.token, size)


def test_another_process_opens_it_and_both_see_what_either_writes() -> None:
    made = make_memory(SIZE)
    made.memory[100:105] = b"hello"
    ended = run(
        "-c",
        "from ipc_broker.shared_memory import open_memory\n"
        f"memory = open_memory({os.getpid()}, {made.descriptor}, {made.token!r}, {SIZE})\n"
        "print(memory[100:105])\n"
        "memory[200:203] = b'you'",
    )
    assert (ended.status, ended.output) == (0, "b'hello'\n")
    assert made.memory[200:203] == b"you"
    assert made.memory[:TOKEN].hex() == made.token


def test_another_memory_than_was_told_is_not_opened(tmp_path: Path) -> None:
    made, other = make_memory(SIZE), make_memory(SIZE)
    with pytest.raises(OSError, match="another memory than was told"):
        opened(made, other.token)
    with pytest.raises(OSError, match="no memory to share"):
        opened(made, size=2 * SIZE)
    with open(tmp_path / "file", "w+b") as file:
        file.write(bytes(SIZE))
        for descriptor in (file.fileno(), 10_000):
            with pytest.raises(OSError, match=r"Invalid argument|No such file"):
                open_memory(os.getpid(), descriptor, made.token, SIZE)


def test_its_size_stays_so_that_nobody_reads_behind_its_end() -> None:
    made = make_memory(SIZE)
    with pytest.raises(PermissionError):
        os.ftruncate(made.descriptor, 0)
    with open(os.dup(made.descriptor), "r+b") as again, pytest.raises(PermissionError):
        again.truncate(2 * SIZE)


def test_what_could_be_made_smaller_is_not_opened() -> None:
    if sys.platform == "win32":  # for the type checker: it is skipped there
        return
    descriptor = os.memfd_create("other", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, SIZE)
        with pytest.raises(OSError, match="no memory to share"):
            open_memory(os.getpid(), descriptor, "00" * TOKEN, SIZE)
    finally:
        os.close(descriptor)


def test_nobody_can_open_it_when_it_was_closed_and_nothing_is_left() -> None:
    before = descriptors()
    made = make_memory(SIZE)
    descriptor = made.descriptor
    memory = open_memory(os.getpid(), descriptor, made.token, SIZE)
    made.close()
    made.close()
    with pytest.raises(FileNotFoundError):
        open_memory(os.getpid(), descriptor, made.token, SIZE)
    memory[100] = 1
    assert made.memory[100] == 1
    del made, memory
    assert descriptors() == before


def test_memory_that_is_dropped_is_closed() -> None:
    before = descriptors()
    make_memory(SIZE)
    assert descriptors() == before


def test_a_python_without_the_names_of_it_opens_it_and_makes_none() -> None:
    made = make_memory(SIZE)
    ended = run(
        "-c",
        "import fcntl, os\n"
        "for module in fcntl, os:\n"
        "    for name in [name for name in vars(module) if 'SEAL' in name or 'MFD' in name or 'memfd' in name]:\n"
        "        delattr(module, name)\n"
        "from ipc_broker.shared_memory import make_memory, open_memory\n"
        f"open_memory({os.getpid()}, {made.descriptor}, {made.token!r}, {SIZE})\n"
        "try:\n"
        "    make_memory(8192)\n"
        "except OSError as error:\n"
        "    print(error)\n",
    )
    assert (ended.status, ended.output) == (0, "this Python was built without memfd_create\n")
