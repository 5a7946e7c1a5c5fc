"""What decorators take down of a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def arguments(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without `self` and `cls`."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        # A call that does not fit raises by itself in a moment; a built-in may have no signature.
        return {"args": list(args), "kwargs": dict(kwargs)}
    return {name: value for name, value in bound.items() if name not in ("self", "cls")}


def check_decorated(function: Callable[..., Any], *, coroutine: bool | None = None) -> None:
    """TypeError where a call of the function is not its work: a generator does that later."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator: open the step or session inside it, with `with`")
    if coroutine and not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is no coroutine function: use a `Client` for it")
