"""A worker as people write it, for the broker to start: it serves the object whose name it is told."""

from __future__ import annotations

import os

from ipc_broker import Worker


class Disk:
    def free(self, unit: str = "GB") -> str:
        return f"7 {unit}"

    def pid(self) -> int:
        return os.getpid()


if __name__ == "__main__":
    worker = Worker()
    worker.add(os.environ["IPC_BROKER_OBJECT"], Disk())
    worker.run()
