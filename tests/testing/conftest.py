"""Coroutine functions run as in tests/aio."""

from tests.aio.conftest import pytest_generate_tests as pytest_generate_tests
from tests.aio.conftest import pytest_pyfunc_call as pytest_pyfunc_call
