"""Arrays of numpy as arguments and results: their bytes as they are, up to 64 MiB. Needs numpy.

    $ python examples/arrays.py serve &
    ready
    $ python examples/arrays.py smooth
    sent 1000 x 1000 float32, 4,000,000 bytes
    got  1000 x 1000 float32, spread 1.00 before and 0.33 after

MessagePack carries bytes without a detour, and what comes is read in place.
"""

import sys
from typing import Any

import numpy as np
from msgspec import Struct

from ipc_broker import Worker
from ipc_broker.sync import connect

Floats = np.ndarray[tuple[int, ...], np.dtype[Any]]


class Array(Struct):
    """An array on its way."""

    kind: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: Floats) -> "Array":
        return cls(array.dtype.str, array.shape, array.tobytes())

    def open(self) -> Floats:
        """Read-only, without a copy."""
        return np.frombuffer(self.data, np.dtype(self.kind)).reshape(self.shape)


class Filters:
    def smooth(self, array: Array) -> Array:
        """Each point becomes the mean of itself and its eight neighbours."""
        padded = np.pad(array.open(), 1, mode="edge")
        rows = padded[:-2] + padded[1:-1] + padded[2:]
        return Array.of((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9)


def serve() -> None:
    worker = Worker(on_connect=lambda: print("ready", flush=True))
    worker.add("filters", Filters())
    worker.run()


def smooth() -> None:
    noise = np.random.default_rng(1).normal(size=(1000, 1000)).astype(np.float32)
    print(f"sent {described(noise)}, {noise.nbytes:,} bytes")
    with connect() as client:
        smoothed = client.call("filters", "smooth", [Array.of(noise)], returns=Array).open()
    print(f"got  {described(smoothed)}, spread {noise.std():.2f} before and {smoothed.std():.2f} after")


def described(array: Floats) -> str:
    return f"{' x '.join(map(str, array.shape))} {array.dtype}"


if sys.argv[1] == "serve":
    serve()
else:
    smooth()
