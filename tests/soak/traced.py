"""Runs a module and tells where its memory grew: `python -m tests.soak.traced FIRST SECOND FILE MODULE ARGUMENTS...`.

What is allocated between FIRST and SECOND, seconds from its start, and still there at SECOND, is written to FILE.
"""

from __future__ import annotations

import gc
import runpy
import sys
import threading
import time
import tracemalloc
from pathlib import Path

FRAMES = 8
MOST = 15


def compare(first: float, second: float, file: Path) -> None:
    time.sleep(first)
    gc.collect()
    before = tracemalloc.take_snapshot()
    time.sleep(second - first)
    gc.collect()
    after = tracemalloc.take_snapshot()
    lines = [f"from {first:g} s to {second:g} s, the {MOST} places that grew most:"]
    for difference in after.compare_to(before, "traceback")[:MOST]:
        lines.append(f"{difference.size_diff:+,} bytes, {difference.count_diff:+,} blocks")
        lines += [f"    {line}" for line in difference.traceback.format()]
    file.write_text("\n".join(lines) + "\n")


def main() -> None:
    first, second, file, module, *arguments = sys.argv[1:]
    tracemalloc.start(FRAMES)
    threading.Thread(target=compare, args=(float(first), float(second), Path(file)), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
