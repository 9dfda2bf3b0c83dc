from __future__ import annotations

import json

from ipc_broker.cli.bench import Figures, table_of
from tests.cli.programs import rob


def test_the_figures_of_a_broker(bus: str) -> None:
    ended = rob("bench", "--interval", "0.05", "--json", address=bus)
    assert (ended.status, ended.errors) == (0, "")
    figures = json.loads(ended.output)
    assert figures.keys() == set(Figures.__struct_fields__)
    assert 0 < figures["ping_p50"] <= figures["ping_p99"]
    assert figures["calls"] > 0
    assert figures["events"] > 0
    assert rob("list", "--json", address=bus).output == '["echo","math","rob"]\n'


def test_a_table_for_people() -> None:
    lines = ["".join(span.text for span in line) for line in table_of(Figures(0.000_05, 0.0012, 41_000.4, 230_000))]
    assert lines == [
        "round trip to the broker, half of them within   50 µs",
        "round trip to the broker, 99 % within          1.2 ms",
        "calls a second, 100 in flight                  41,000",
        "events a second, to one subscriber            230,000",
    ]
