"""Files that decide who may do what: only their owner and root may be able to change them."""

from __future__ import annotations

import os
import stat
import sys

from ..errors import ConfigError
from .users import is_own_or_root, user_name


def read_trusted(path: str) -> str:
    """The text of a file that nobody but our own user and root can write or replace. Raises ConfigError.

    On Windows all is read: who may write there, its access control lists say.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as stream:
            if sys.platform != "win32":
                found = os.fstat(stream.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise ConfigError(f"{path} is no regular file")
                _require_trusted(path, found)
                folder = os.path.dirname(os.path.realpath(path))
                _require_trusted(folder, os.stat(folder))
            return stream.read().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8: {error}") from error


def _open_at_once(path: str, flags: int) -> int:
    """Who opens a named pipe would wait for somebody who writes there: a broker, for ever."""
    if sys.platform == "win32":
        return os.open(path, flags)
    return os.open(path, flags | os.O_NONBLOCK)


def require_trusted_folder(path: str) -> None:
    """For a folder all of whose files are read. Raises ConfigError."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path} is no folder")
    if sys.platform != "win32":
        _require_trusted(path, found)


def _require_trusted(path: str, found: os.stat_result) -> None:
    """Raises ConfigError."""
    if not is_own_or_root(found.st_uid):
        raise ConfigError(
            f"{path} belongs to user '{user_name(found.st_uid)}', who could change what it says: it must be your own or"
            " root's"
        )
    # In a sticky folder, such as /tmp, nobody can replace what is another's.
    is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & 0o022 and not is_sticky:
        raise ConfigError(f"{path} can be changed by others than its owner: chmod go-w {path}")
