"""How hypothesis runs: without a time limit for each example, and always with the same examples in CI.

`HYPOTHESIS_PROFILE=thorough` looks for longer; the suite has to end within minutes.
"""

import gc
import os

from hypothesis import settings

settings.register_profile("local", deadline=None, max_examples=30)
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local"))


def pytest_collection_finish() -> None:
    """Tests of asyncio collect garbage after each: what was imported and collected until now need not be searched then."""
    gc.collect()
    gc.freeze()
