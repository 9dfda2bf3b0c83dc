"""Measures calls and events against the floor of plain sockets: `python -m benchmarks`."""
