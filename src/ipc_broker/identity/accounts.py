"""What Windows knows of users and groups: whose this program is, which SID has a name, who holds a token."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes
    from functools import lru_cache
    from typing import Any, Final, NamedTuple

    from ..errors import ConfigError
    from .sids import is_sid

    TOKEN_QUERY: Final = 0x0008
    _TOKEN_USER: Final = 1
    _TOKEN_GROUPS: Final = 2
    _SE_GROUP_ENABLED: Final = 0x00000004
    _ERROR_NONE_MAPPED: Final = 1332
    _PEOPLE: Final = frozenset({1, 2, 4, 5})
    """SidTypeUser, Group, Alias and WellKnownGroup: not computers, domains, or accounts that were deleted."""

    # typeshed has wintypes' pointers as functions that it cannot type.
    _advapi: Any = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)
    _DWORD_POINTER: Any = ctypes.POINTER(wintypes.DWORD)
    _TEXT_POINTER: Any = ctypes.POINTER(wintypes.LPWSTR)
    _ADDRESS_POINTER: Any = ctypes.POINTER(ctypes.c_void_p)

    _kernel.GetCurrentProcess.restype = wintypes.HANDLE
    _kernel.CloseHandle.argtypes = [wintypes.HANDLE]
    _kernel.LocalFree.argtypes = [ctypes.c_void_p]
    _kernel.LocalFree.restype = ctypes.c_void_p
    _advapi.OpenProcessToken.argtypes = [wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE)]
    _advapi.GetTokenInformation.argtypes = [
        *(wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD, _DWORD_POINTER),
    ]
    _advapi.ConvertSidToStringSidW.argtypes = [ctypes.c_void_p, _TEXT_POINTER]
    _advapi.ConvertStringSidToSidW.argtypes = [wintypes.LPCWSTR, _ADDRESS_POINTER]
    _advapi.LookupAccountNameW.argtypes = [
        *(wintypes.LPCWSTR, wintypes.LPCWSTR, ctypes.c_void_p, _DWORD_POINTER),
        *(wintypes.LPWSTR, _DWORD_POINTER, _DWORD_POINTER),
    ]
    _advapi.LookupAccountSidW.argtypes = [
        *(wintypes.LPCWSTR, ctypes.c_void_p, wintypes.LPWSTR, _DWORD_POINTER),
        *(wintypes.LPWSTR, _DWORD_POINTER, _DWORD_POINTER),
    ]

    class _SidAndAttributes(ctypes.Structure):
        _fields_ = [("sid", ctypes.c_void_p), ("attributes", wintypes.DWORD)]

    class _Groups(ctypes.Structure):
        """TOKEN_GROUPS, with the first of as many as `count` says."""

        _fields_ = [("count", wintypes.DWORD), ("first", _SidAndAttributes)]

    class Holder(NamedTuple):
        """Whose rights a token has. `groups` are those that count."""

        sid: str
        groups: frozenset[str]

    def failed(what: str) -> OSError:
        """Of the last call by ctypes, with `what` as its file name: that is where people look."""
        error = ctypes.WinError(ctypes.get_last_error())
        error.filename = what
        return error

    def free(address: int | None) -> None:
        """What a function of Windows has given and left to us."""
        _kernel.LocalFree(address)

    @lru_cache(maxsize=1)
    def own_sid() -> str:
        """Of the user that this program runs as. Raises OSError."""
        token = wintypes.HANDLE()
        if not _advapi.OpenProcessToken(_kernel.GetCurrentProcess(), TOKEN_QUERY, ctypes.byref(token)):
            raise failed("the token of this process")
        try:
            return holder_of(token).sid
        finally:
            _kernel.CloseHandle(token)

    def holder_of(token: wintypes.HANDLE) -> Holder:
        """Raises OSError."""
        user = _SidAndAttributes.from_buffer(_told_by(token, _TOKEN_USER))
        told = _told_by(token, _TOKEN_GROUPS)
        count = wintypes.DWORD.from_buffer(told).value
        listed = (_SidAndAttributes * count).from_buffer(told, _Groups.first.offset) if count else ()
        groups = frozenset(text_of(one.sid) for one in listed if one.attributes & _SE_GROUP_ENABLED)
        return Holder(text_of(user.sid), groups)

    def _told_by(token: wintypes.HANDLE, kind: int) -> ctypes.Array[ctypes.c_char]:
        """Raises OSError."""
        size = wintypes.DWORD()
        _advapi.GetTokenInformation(token, kind, None, 0, ctypes.byref(size))  # fails, and says how much it has to tell
        told = ctypes.create_string_buffer(size.value)
        if not _advapi.GetTokenInformation(token, kind, told, size, ctypes.byref(size)):
            raise failed("the token of a process")
        return told

    def text_of(sid: int | None) -> str:
        """`sid` is the address of one. Raises OSError."""
        text = wintypes.LPWSTR()
        if not _advapi.ConvertSidToStringSidW(sid, ctypes.byref(text)):
            raise failed("a SID")
        try:
            return text.value or ""
        finally:
            free(ctypes.cast(text, ctypes.c_void_p).value)

    @lru_cache(maxsize=1024)
    def sid_of(name: str) -> str | None:
        r"""Of a user or group: `alice`, `DOMAIN\alice`, or a SID itself. None where there is nobody of this name.

        Without a domain one of this machine goes before one of its domain. Raises ConfigError where nobody could be asked.
        """
        if not name or is_sid(name):
            return name.upper() or None
        sid_size, domain_size, kind = wintypes.DWORD(), wintypes.DWORD(), wintypes.DWORD()
        sid = domain = None
        for _ in range(2):  # it says first how long its answer is
            if _advapi.LookupAccountNameW(
                *(None, name, sid, ctypes.byref(sid_size), domain, ctypes.byref(domain_size), ctypes.byref(kind))
            ):
                return text_of(ctypes.addressof(sid)) if sid is not None and kind.value in _PEOPLE else None
            if not sid_size.value:
                break
            sid = ctypes.create_string_buffer(sid_size.value)
            domain = ctypes.create_unicode_buffer(domain_size.value)
        error = failed(name)
        if error.winerror == _ERROR_NONE_MAPPED:
            return None
        raise ConfigError(f"Windows cannot tell who '{name}' is: {error.strerror}")

    @lru_cache(maxsize=1024)
    def account_name(sid: str) -> str:
        r"""`DOMAIN\alice`; the SID itself where it has no name, or nobody can be asked."""
        binary = ctypes.c_void_p()
        if not _advapi.ConvertStringSidToSidW(sid, ctypes.byref(binary)):
            return sid
        try:
            # Neither may be longer (UNLEN, DNLEN and what stands behind them).
            name, domain = ctypes.create_unicode_buffer(513), ctypes.create_unicode_buffer(513)
            name_size, domain_size, kind = wintypes.DWORD(len(name)), wintypes.DWORD(len(domain)), wintypes.DWORD()
            if not _advapi.LookupAccountSidW(
                *(None, binary, name, ctypes.byref(name_size), domain, ctypes.byref(domain_size), ctypes.byref(kind))
            ):
                return sid
        finally:
            free(binary.value)
        return f"{domain.value}\\{name.value}" if domain.value else name.value
