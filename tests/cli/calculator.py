"""The worker of these tests: `calculator.py ADDRESS` serves `math`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from typing import Any

from ipc_broker import Worker, current_call


class Calculator:
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    def divide(self, a: int, b: int) -> float:
        return a / b

    def count(self, to: int) -> Iterator[int]:
        yield from range(1, to + 1)

    def count_for_ever(self) -> Iterator[int]:
        yield from itertools.count(1)

    def tenant(self) -> str:
        return current_call().headers["tenant"]

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Echo:
    def give(self, **named: Any) -> dict[str, Any]:
        return named

    def back(self, value: Any = None) -> Any:
        return value

    def sequence(self, *values: Any) -> list[Any]:
        return list(values)

    def binary(self) -> list[Any]:
        return [b"\x00\xff", float("nan")]

    def fail(self, text: str) -> None:
        raise ValueError(text)


def main() -> None:
    worker = Worker(sys.argv[1])
    worker.add("echo", Echo())
    worker.add("math", Calculator())  # last: the tests wait for it
    worker.run()


if __name__ == "__main__":
    main()
