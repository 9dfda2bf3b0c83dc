"""The worker of `rob demo`, which shows what follows."""

from ipc_broker import Worker


class Calculator:
    """Arithmetic on two integers."""

    def add(self, a: int, b: int) -> dict[str, int]:
        return {"sum": a + b}


if __name__ == "__main__":
    worker = Worker()
    worker.add("math", Calculator())
    worker.run()
