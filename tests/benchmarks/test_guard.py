from __future__ import annotations

import asyncio

import pytest

from benchmarks import guard


def test_all_that_is_guarded_is_measured_and_far_from_free() -> None:
    brains = guard.Brains()
    floor = guard.floor_round()
    assert floor > 0
    assert brains.calls() > 0
    assert brains.events(("heat",)) > 0
    assert brains.events(("heat", "cold")) > 0
    assert asyncio.run(guard.stack(1)) > 0
    assert guard.USUAL.keys() == guard.TITLES.keys()


def test_what_is_slower_by_more_than_the_margin_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = dict(guard.USUAL)
    monkeypatch.setattr(guard, "measure", lambda: usual)
    assert guard.main() == 0
    slow = usual | {"event": guard.USUAL["event"] * 1.31}
    monkeypatch.setattr(guard, "measure", lambda: slow)
    assert guard.too_slow(slow) == ["event"]
    assert guard.main() == 1
    assert "more than 1.3 times as much" in capsys.readouterr().out


def test_one_slow_try_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = [{name: ratio * 2 for name, ratio in guard.USUAL.items()}, dict(guard.USUAL)]
    monkeypatch.setattr(guard, "measure", lambda: tries.pop(0))
    assert guard.main() == 0
    assert tries == []
