"""The parts of a call that decorators record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call by name, without `self` and `cls`."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        # A call with wrong arguments raises by itself in a moment. A built-in function may have no signature.
        return {"args": list(args), "kwargs": dict(kwargs)}
    return {name: value for name, value in bound.items() if name not in ("self", "cls")}


def check_decorated(function: Callable[..., Any], *, coroutine: bool | None = None) -> None:
    """Raises TypeError for a generator, because its call returns before its work begins.

    `coroutine` requires a coroutine function.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator: open the step or session inside it, using `with`")
    if coroutine and not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is not a coroutine function: use a `Client` to decorate it")
