from __future__ import annotations
from pathlib import Path
from .results import Results
def write(results: Results, file: Path) -> None: ...
