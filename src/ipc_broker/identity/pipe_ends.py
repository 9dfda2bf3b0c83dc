"""Windows named pipes: making and opening them, and who is at their other end."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import _winapi
    import ctypes
    import os
    from ctypes import wintypes
    from typing import Any, Final, NamedTuple

    from .accounts import TOKEN_QUERY, Holder, failed, free, holder_of, text_of

    _PIPE_REJECT_REMOTE_CLIENTS: Final = 0x00000008
    _BUFFER: Final = 64 * 1024  # bytes for each direction; what is not read yet waits with its writer

    # Whoever serves the pipe may learn who we are, but not act in our name; and learn it at once, not only after it has
    # read something: without SECURITY_CONTEXT_TRACKING it is who we were when we opened it.
    _SECURITY_SQOS_PRESENT: Final = 0x00100000
    _SECURITY_IDENTIFICATION: Final = 0x00010000

    # In place of GENERIC_WRITE, which also asks for FILE_CREATE_PIPE_INSTANCE (see pipe_access.py).
    _FILE_WRITE_DATA: Final = 0x0002

    _SDDL_REVISION_1: Final = 1
    _SE_KERNEL_OBJECT: Final = 6
    _OWNER_SECURITY_INFORMATION: Final = 1

    _advapi: Any = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)
    _ADDRESS_POINTER: Any = ctypes.POINTER(ctypes.c_void_p)
    _HANDLE_POINTER: Any = ctypes.POINTER(wintypes.HANDLE)

    _kernel.GetCurrentThread.restype = wintypes.HANDLE
    _kernel.CloseHandle.argtypes = [wintypes.HANDLE]
    _kernel.GetNamedPipeClientProcessId.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.ULONG)]
    _advapi.ImpersonateNamedPipeClient.argtypes = [wintypes.HANDLE]
    _advapi.OpenThreadToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, _HANDLE_POINTER]
    _advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = [
        *(wintypes.LPCWSTR, wintypes.DWORD, _ADDRESS_POINTER, ctypes.c_void_p),
    ]
    _advapi.GetSecurityInfo.argtypes = [
        *(wintypes.HANDLE, ctypes.c_int, wintypes.DWORD, _ADDRESS_POINTER),
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, _ADDRESS_POINTER),
    ]

    class _SecurityAttributes(ctypes.Structure):
        _fields_ = [("size", wintypes.DWORD), ("descriptor", ctypes.c_void_p), ("inherit", wintypes.BOOL)]

    class PipeClient(NamedTuple):
        """Who has connected, as far as Windows tells: `holder` is None for one that opened the pipe in a way that hides it."""

        pid: int | None
        holder: Holder | None

    def create_instance(path: str, descriptor: str, *, first: bool) -> int:
        """The handle of one that nobody has connected to yet; no other machine can. `descriptor` is SDDL.

        All instances of a pipe have the descriptor that the first was given. Raises OSError, also where another process has
        one and this is to be the first.
        """
        made = ctypes.c_void_p()
        if not _advapi.ConvertStringSecurityDescriptorToSecurityDescriptorW(
            *(descriptor, _SDDL_REVISION_1, ctypes.byref(made), None)
        ):
            raise failed(descriptor)
        try:
            attributes = _SecurityAttributes(ctypes.sizeof(_SecurityAttributes), made, False)
            return _winapi.CreateNamedPipe(
                path,
                _winapi.PIPE_ACCESS_DUPLEX
                | _winapi.FILE_FLAG_OVERLAPPED
                | (_winapi.FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0),
                _PIPE_REJECT_REMOTE_CLIENTS,  # besides, by being nothing else: bytes, not messages
                _winapi.PIPE_UNLIMITED_INSTANCES,
                *(_BUFFER, _BUFFER),
                _winapi.NMPWAIT_WAIT_FOREVER,
                ctypes.addressof(attributes),
            )
        finally:
            free(made.value)

    def open_end(path: str) -> int:
        """The handle of a client's end, for overlapped I/O. Raises OSError; its `winerror` may be ERROR_PIPE_BUSY."""
        return _winapi.CreateFile(
            path,
            _winapi.GENERIC_READ | _FILE_WRITE_DATA,
            0,
            _winapi.NULL,
            _winapi.OPEN_EXISTING,
            _winapi.FILE_FLAG_OVERLAPPED | _SECURITY_SQOS_PRESENT | _SECURITY_IDENTIFICATION,
            _winapi.NULL,
        )

    def owner_of(handle: int) -> str | None:
        """The SID of whom the pipe belongs to: of the user who has made its first instance. Raises OSError.

        Nobody can make a pipe that belongs to somebody else, unless the system has given them the right to do so with all
        files. The process that serves it (GetNamedPipeServerProcessId) would say less: it may have ended, and its number be
        that of another; and a plain user may not ask whose the system's processes are.
        """
        owner, descriptor = ctypes.c_void_p(), ctypes.c_void_p()
        error = _advapi.GetSecurityInfo(
            *(handle, _SE_KERNEL_OBJECT, _OWNER_SECURITY_INFORMATION),
            *(ctypes.byref(owner), None, None, None, ctypes.byref(descriptor)),
        )
        if error:
            raise ctypes.WinError(error)
        try:
            return text_of(owner.value) if owner.value else None
        finally:
            free(descriptor.value)

    def client_of(handle: int) -> PipeClient:
        """Raises OSError where there is none any more."""
        pid = wintypes.ULONG()
        if not _kernel.GetNamedPipeClientProcessId(handle, ctypes.byref(pid)):
            raise failed("the process at the other end of a pipe")
        return PipeClient(pid.value or None, _holder_at(handle))

    def _holder_at(handle: int) -> Holder | None:
        """Not by the process: which may have ended, or pass the pipe on. The thread acts as the client for a moment.

        Raises OSError.
        """
        token = wintypes.HANDLE()
        try:
            if not _advapi.ImpersonateNamedPipeClient(handle):
                return None
            # As ourselves: what may only be identified can open nothing, not even its own token.
            told = _advapi.OpenThreadToken(_kernel.GetCurrentThread(), TOKEN_QUERY, True, ctypes.byref(token))
        finally:
            if not _advapi.RevertToSelf():
                os.abort()  # all that follows would be done with another's rights
        if not told:
            return None
        try:
            return holder_of(token)
        finally:
            _kernel.CloseHandle(token)
