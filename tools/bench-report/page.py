"""Writes the page: its words are in template.md.j2, its figures in the run."""

from pathlib import Path

import jinja2

import scale
from figures import Figures


def rendered(run: dict) -> str:
    """The text of docs/performance.md."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Markdown, and its figures are our own.
        autoescape=False,
    )
    environment.filters |= {
        "whole": whole,
        "ratio": ratio,
        "microseconds": microseconds,
        "each": each,
        "scale_rows": scale.rows,
    }
    return environment.get_template("template.md.j2").render(run=run, figures=Figures(run))


def whole(number: float) -> str:
    """48640.2 as 48,640."""
    return f"{number:,.0f}"


def ratio(number: float | None) -> str:
    """0.8398 as 0.84, 12.34 as 12.3; an en dash where there is none."""
    if number is None:
        return "\N{EN DASH}"
    return f"{number:.2f}" if number < 10 else f"{number:.1f}"


def microseconds(number: float) -> str:
    """Microseconds to what can be told apart."""
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def each(nanoseconds: float) -> str:
    """The time that one thing takes, in a unit that suits it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"
