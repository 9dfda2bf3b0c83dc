from __future__ import annotations

import pytest

from tests.memory import Bus
from tests.session.scripted import ScriptedBroker


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def broker() -> ScriptedBroker:
    """One whose session is connected and ready, and has agreed to everything, in JSON."""
    broker = ScriptedBroker()
    broker.open()
    return broker


@pytest.fixture
def seed_broker() -> ScriptedBroker:
    """One that speaks the Rust crate's protocol only."""
    broker = ScriptedBroker()
    broker.open_seed()
    return broker
