"""The worker of the Windows tests: `calculator.py ADDRESS` serves `math` until it is ended."""

from __future__ import annotations

import sys
import time

from ipc_broker import Worker


class Calculator:
    """Arithmetic on integers."""

    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}

    async def mul(self, a: int, b: int) -> dict[str, int]:
        return {"product": a * b}

    def echo(self, text: str) -> str:
        return text

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
