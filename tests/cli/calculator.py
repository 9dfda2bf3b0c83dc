"""The worker of these tests: `calculator.py ADDRESS` serves `math`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from ipc_broker import Worker


class Calculator:
    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    def divide(self, a: int, b: int) -> float:
        return a / b

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Echo:
    def give(self, **named: Any) -> dict[str, Any]:
        return named

    def back(self, value: Any = None) -> Any:
        return value

    def sequence(self, *values: Any) -> list[Any]:
        return list(values)

    def fail(self, text: str) -> None:
        raise ValueError(text)


def main() -> None:
    worker = Worker(sys.argv[1])
    worker.add("echo", Echo())
    worker.add("math", Calculator())  # last: the tests wait for it
    worker.run()


if __name__ == "__main__":
    main()
