"""The worker of the Windows tests: `calculator.py ADDRESS` serves `math` until it is ended."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ipc_broker import Worker


class Calculator:
    """Arithmetic on integers."""

    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def mul(self, a: int, b: int) -> dict[str, int]:
        return {"product": a * b}

    def echo(self, value: Any) -> Any:
        return value

    async def count(self, stop: int) -> AsyncIterator[int]:
        for number in range(stop):
            yield number

    def run(self, size: int) -> Iterator[bytes]:
        """Without end."""
        while True:
            yield b"x" * size

    def fail(self) -> None:
        raise ArithmeticError("on purpose")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def main() -> None:
    worker = Worker(sys.argv[1], name="calculator")
    worker.add("math", Calculator())
    worker.run()


if __name__ == "__main__":
    main()
