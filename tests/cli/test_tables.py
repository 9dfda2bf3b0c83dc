from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console, RenderableType

from ipc_broker.cli.rates import ObjectRates, Rates
from ipc_broker.cli.tables import screen, spark
from ipc_broker.observation import ConnectionState, Measurement, SubscriptionState

EVIL = "\x1b[2J[red]"


def text_of(what: RenderableType, width: int = 120) -> list[str]:
    console = Console(file=StringIO(), width=width, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def rates_of(count: int) -> Rates:
    objects = [ObjectRates(f"object{number}", 667, 3, 0, 0.000_31, 0.0012, 2, 0) for number in range(count)]
    return Rates(1.0, objects, 667.0, 3.0, 20.0, 60.0, 0)


def measurement_of(connections: list[ConnectionState], behind: list[SubscriptionState]) -> Measurement:
    return Measurement(
        time=125.0,
        since=0.0,
        objects={},
        objects_total=2,
        connections=connections,
        connections_total=len(connections),
        behind=behind,
        calls_in_flight=2,
        published=0,
        delivered=0,
        dropped=0,
    )


def test_the_tables_of_a_small_bus() -> None:
    connections = [
        ConnectionState(1, "web", 12, protocol="msgpack", age=5.0, outbox=2048, calls=2, paused=True),
        ConnectionState(2, address="127.0.0.1:4", protocol="seed", age=61.0, objects=1, subscriptions=3),
    ]
    behind = [SubscriptionState("sensor", "heat", "'log' (process 3)", "lagging", 8 << 20, 1234, 2.0)]
    assert text_of(screen("ipc-broker", measurement_of(connections, behind), rates_of(1), 120, None, {})) == [
        "ipc-broker · up 2 min 5 s",
        "2 objects · 2 connections · 2 calls in flight",
        "667 calls/s · 3.0 errors/s · 20 events/s · 60 delivered/s",
        "",
        "object   calls/s     p50     p99  in flight  waiting  errors/s  events/s",
        "object0      667  310 µs  1.2 ms          2        -       3.0         -",
        "",
        "connection                  protocol  connected  calls  serving  objects  subscriptions  outbox",
        "'web' (process 12) paused   msgpack         5 s      2        -        -              -   2 KiB",
        "connection 2 (127.0.0.1:4)  seed      1 min 1 s      -        -        1              3       -",
        "",
        "slow subscriber    object  topic  state    since  waiting  dropped",
        "'log' (process 3)  sensor  heat   lagging    2 s    8 MiB    1,234",
    ]


def test_what_does_not_fit_is_counted() -> None:
    connections = [ConnectionState(number, "c", number) for number in range(50)]
    behind = [SubscriptionState("a", "b", f"'{number}'", "full", 1) for number in range(30)]
    for height in (10, 15, 24, 60):
        lines = text_of(screen("b", measurement_of(connections, behind), rates_of(40), 120, height, {}))
        assert len(lines) <= max(height, 20)
        assert any("more object" in line for line in lines)
    few = text_of(screen("b", measurement_of(connections[:3], []), rates_of(2), 120, 24, {}))
    assert not any("more" in line for line in few)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_in_a_narrow_terminal_columns_go_before_numbers_are_cut(width: int) -> None:
    connections = [ConnectionState(1, "a long name that nobody reads", 12, age=5.0, outbox=2048, calls=12_345)]
    behind = [SubscriptionState("sensor.kitchen", "temperature", "'log' (process 3)", "lagging", 8 << 20, 1234, 2.0)]
    shown = screen("b", measurement_of(connections, behind), rates_of(1), width, None, {"object0": [1.0] * 20})
    lines = text_of(shown, width)
    assert all(len(line) <= width for line in lines)
    for number in ("667", "1.2 ms", "12,345", "2 KiB", "8 MiB", "1,234"):
        assert any(number in line for line in lines)
    for title in ("calls/s", "p99", "in flight", "events/s", "serving", "outbox", "dropped"):
        assert any(title in line for line in lines)
    assert any("subscriptions" in line for line in lines) is (width >= 80)
    assert any("protocol" in line for line in lines) is (width >= 100)


def test_the_bars_of_the_last_intervals() -> None:
    assert spark([0, 50, 100]) == "▁▅█"
    assert spark([0, 0]) == "▁▁"
    assert spark([]) == ""
    lines = text_of(screen("b", measurement_of([], []), rates_of(1), 120, 30, {"object0": [1.0, 2.0]}))
    assert lines[5].endswith("▅█")


def test_names_are_shown_never_obeyed() -> None:
    rates = Rates(1.0, [ObjectRates(EVIL, 1, 0, 0, None, None, 0, 0)], 1.0, 0.0, 0.0, 0.0, 7)
    connections = [ConnectionState(1, EVIL, address=EVIL)]
    behind = [SubscriptionState(EVIL, EVIL, EVIL, "behind")]
    lines = text_of(screen(EVIL, measurement_of(connections, behind), rates, 250, None, {}), 250)
    assert all(line.isprintable() for line in lines)
    assert sum(line.count("[red]") for line in lines) == 7
    assert lines[2].endswith("7 events dropped")
