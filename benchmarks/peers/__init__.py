"""The same work for this bus and for what else a Python program may pick: `python -m benchmarks.peers`.

`peer.py` says what a peer is, and each has a module of its own; the loops and clocks that all share are in `roles.py`,
the kinds of work in `works.py`.
"""
