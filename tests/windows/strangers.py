"""Pipes that are another user's, and what Windows says of a pipe. Wine keeps access rights, and does not enforce them."""

from __future__ import annotations

import sys
import uuid

if sys.platform == "win32":
    import _winapi
    import ctypes
    from collections.abc import Iterator
    from contextlib import contextmanager
    from ctypes import wintypes
    from typing import Any

    import pytest

    from ipc_broker.identity.accounts import free
    from ipc_broker.identity.pipe_ends import create_instance

    STRANGER = "S-1-5-21-1-2-3-1001"
    """Of no account here."""

    IS_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
    enforced = pytest.mark.skipif(IS_WINE, reason="Wine does not enforce access rights")

    _ERROR_INVALID_OWNER = 1307
    _OWNER, _DACL = 1, 4
    _advapi: Any = ctypes.WinDLL("advapi32", use_last_error=True)
    _advapi.GetSecurityInfo.argtypes = [
        *(wintypes.HANDLE, ctypes.c_int, wintypes.DWORD, ctypes.c_void_p),
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)),
    ]
    _advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = [
        *(wintypes.LPCWSTR, wintypes.DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p),
    ]
    _advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW.argtypes = [
        *(ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, ctypes.POINTER(wintypes.LPWSTR), ctypes.c_void_p),
    ]

    def descriptor_at(handle: int) -> str:
        """Owner and access rights of a pipe as Windows has them, in SDDL."""
        descriptor = ctypes.c_void_p()
        error = _advapi.GetSecurityInfo(handle, 6, _OWNER | _DACL, None, None, None, None, ctypes.byref(descriptor))
        assert not error, ctypes.WinError(error)
        try:
            return _text_of(descriptor)
        finally:
            free(descriptor.value)

    def _text_of(descriptor: ctypes.c_void_p) -> str:
        text = wintypes.LPWSTR()
        assert _advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor, 1, _OWNER | _DACL, ctypes.byref(text), None
        ), ctypes.WinError(ctypes.get_last_error())
        try:
            return text.value or ""
        finally:
            free(ctypes.cast(text, ctypes.c_void_p).value)

    def as_windows_writes(descriptor: str) -> str:
        """The same SDDL, with the short names that Windows has for some SIDs."""
        made = ctypes.c_void_p()
        assert _advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(descriptor, 1, ctypes.byref(made), None), (
            ctypes.WinError(ctypes.get_last_error())
        )
        try:
            return _text_of(made)
        finally:
            free(made.value)

    @contextmanager
    def stranger_s_pipe(name: str) -> Iterator[int]:
        """The handle of a pipe that belongs to somebody else and is open to all, and which nobody serves."""
        try:
            handle = create_instance(path_of(name), f"O:{STRANGER}D:P(A;;FA;;;WD)", first=True)
        except OSError as error:
            if error.winerror != _ERROR_INVALID_OWNER:
                raise
            pytest.skip("Windows lets nobody make a pipe that is somebody else's")
        try:
            yield handle
        finally:
            _winapi.CloseHandle(handle)

    def said_to(handle: int) -> int:
        """Bytes that have come over the pipe and that nobody has read."""
        try:
            _, waiting, *_ = _winapi.PeekNamedPipe(handle, 1)
            return waiting
        except BrokenPipeError:  # whoever was there has closed it, and has said nothing
            return 0

    def path_of(name: str) -> str:
        return rf"\\.\pipe\{name}"


def new_name() -> str:
    return f"ipc_broker_test_{uuid.uuid4().hex}"
