from __future__ import annotations

import pytest

from tests.memory import Bus


@pytest.fixture
def bus() -> Bus:
    return Bus()
