from __future__ import annotations

import pytest

from tests.memory import Bus
from tests.session.scripted import ScriptedBroker


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def broker() -> ScriptedBroker:
    """One whose session is connected and ready."""
    broker = ScriptedBroker()
    broker.open()
    return broker
