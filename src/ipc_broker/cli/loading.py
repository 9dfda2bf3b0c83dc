"""`package.module:Class`, as it is typed, to the object that is to be served."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from .failures import CannotLoad
from .words import UsageError, did_you_mean


class Target(NamedTuple):
    """`name` is a class, an instance or a function that makes one; "" for the module's own functions."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}" if self.name else self.module


def parse_target(text: str) -> Target:
    """Raises UsageError."""
    module, colon, name = text.partition(":")
    if module.endswith(".py") or os.sep in module:
        path = Path(module.removesuffix(".py"))
        if not path.is_absolute() and ".." not in path.parts:
            guess = f"; did you mean {'.'.join(path.parts)}{colon}{name}?"
        else:  # only its last part is sure to be one
            guess = f": {path.name}{colon}{name}, in the folder {path.parent}"
        raise UsageError(f"TARGET is a module, not a file{guess}")
    words = [*module.split("."), *(name.split(".") if colon else ())]
    if not all(word.isidentifier() for word in words):
        raise UsageError(f"TARGET is package.module:Class, package.module:instance or package.module; given {text!r}")
    return Target(module, name)


def look_here_too() -> None:
    """Modules of the current folder are found, before all others."""
    here = os.getcwd()
    if here not in sys.path[:1]:
        sys.path.insert(0, here)


def folders_of(target: Target) -> list[Path]:
    """Where the sources of the target's package are; for a module of its own, its folder. Raises CannotLoad."""
    top = target.module.partition(".")[0]
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise _no_module(top)
    if spec.submodule_search_locations:
        return [Path(folder) for folder in spec.submodule_search_locations]
    if spec.origin is None or not Path(spec.origin).exists():
        raise CannotLoad(f"the module {top} has no file of its own; it cannot be watched")
    return [Path(spec.origin).parent]


def load(target: Target) -> object:
    """The object. Imports its module, and calls a class to make an instance. Raises CannotLoad."""
    module = _import(target.module)
    if not target.name:
        return _functions_of(module)
    found: object = module
    for word in target.name.split("."):
        if not hasattr(found, word):
            raise CannotLoad(f"{target.module} has no {target.name!r}{_what_there_is(module, target.name)}")
        found = getattr(found, word)
    return _made(found, target) if inspect.isclass(found) else _checked(found, target)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise _no_module(missing) from error
        raise CannotLoad(f"{name} needs the module {missing!r}, which is not installed{_place(error)}") from error
    except SyntaxError as error:
        where = f" ({Path(error.filename).name}, line {error.lineno})" if error.filename else ""
        raise CannotLoad(f"{name} cannot be imported: {error.msg}{where}") from error
    except (Exception, SystemExit) as error:  # whatever the code of a module raises
        raise CannotLoad(f"importing '{name}' raised {_told(error)}{_place(error)}") from error


def _no_module(name: str) -> CannotLoad:
    parent, _, last = name.rpartition(".")
    if parent:
        return CannotLoad(f"there is no module {last!r} in the package {parent}")
    beside = [path.stem for path in Path().glob("*.py")] + [path.parent.name for path in Path().glob("*/__init__.py")]
    hint = did_you_mean(name, beside)
    return CannotLoad(f"there is no module {name!r}, neither in {os.getcwd()} nor among the installed ones{hint}")


def _what_there_is(module: ModuleType, wanted: str) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    if hint := did_you_mean(wanted, [name for name in vars(module) if not name.startswith("_")]):
        return hint
    return f"; it has {', '.join(own)}" if own else "; it has nothing that could be served"


def _made(kind: Callable[[], object], target: Target) -> object:
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(kind).parameters
    except (TypeError, ValueError):  # classes that are not written in Python may have none
        parameters = {}
    needed = [
        one.name
        for one in parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if needed:
        class_name = target.name
        instance = class_name.rpartition(".")[2].lower()
        raise CannotLoad(
            f"{class_name} cannot be made without {', '.join(needed)}; make one in {target.module}, as in "
            f"`{instance} = {class_name}({', '.join(f'{name}=...' for name in needed)})`, "
            f"and serve {target.module}:{instance}"
        )
    try:
        return kind()
    except (Exception, SystemExit) as error:  # whatever its code raises
        raise CannotLoad(f"{target.name}() raised {_told(error)}{_place(error)}") from error


def _checked(found: object, target: Target) -> object:
    if inspect.ismodule(found):
        return _functions_of(found)
    if inspect.isroutine(found):
        raise CannotLoad(
            f"{target} is a function; {target.module} alone serves all the functions of that module, "
            "a class those that belong together"
        )
    if found is None or isinstance(found, bool | int | float | str | bytes | list | tuple | dict | set):
        raise CannotLoad(f"{target} is {type(found).__name__}: a value, without methods of its own to serve")
    return found


def _functions_of(module: ModuleType) -> object:
    """Those that the module defines itself or names in `__all__`, as the methods of one object."""
    chosen = getattr(module, "__all__", None)
    functions = {
        name: staticmethod(value)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and (name in chosen if chosen is not None else not name.startswith("_") and value.__module__ == module.__name__)
    }
    if not functions:
        raise CannotLoad(
            f"{module.__name__} defines no public functions; to serve a class of it say {module.__name__}:Class"
        )
    return type(module.__name__.rpartition(".")[2], (), {"__doc__": module.__doc__, **functions})()


def _told(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """The last line of the traceback that is in a file of somebody, not in the import system's or ours."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and Path(frame.filename) not in _OURS
    ]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


_OURS = (Path(__file__), Path(importlib.__file__))
