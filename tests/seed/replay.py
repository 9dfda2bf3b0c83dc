"""Plays the captured frames against a broker, as the programs that sent them."""

from tests.seed.client import SeedClient
from tests.seed.frames import golden

# The capture ends with a call to the worker whose caller was not captured.
COMPLETE = 32


def replay(address: str) -> None:
    """Sends what the programs sent, and asserts that each of them gets, byte for byte, what it got."""
    peers: dict[str, SeedClient] = {}
    try:
        for number, captured in enumerate(golden()[:COMPLETE], start=1):
            if captured.peer not in peers:
                peers[captured.peer] = SeedClient(address)
            peer = peers[captured.peer]
            if captured.direction == "to_broker":
                peer.send_bytes(captured.frame)
            else:
                received = peer.read_frame()
                assert received == captured.frame, f"frame {number}, to {captured.peer}: {received!r}"
    finally:
        for peer in peers.values():
            peer.close()
