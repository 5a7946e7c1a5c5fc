"""Draws the plots, so that they can be read on light and on dark pages."""

from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from figures import ANNALS, LIMIT, SCENARIO, Cell, Figures

# A grey that stands out from white and from near black, and colours of about the same lightness.
INK = "#7d838c"
HIGHLIGHT = "#e8590c"
LIMIT_COLOUR = "#2f9e9e"
OTHERS = ("#5b8def", "#b07fe0", "#c9a227", "#58a55c", "#d6699a", "#9a8c7a", "#6fa8c7", "#a3a847")
MARKERS = "osD^vP*X<>hd"

STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "sans-serif",
    "font.size": 10,
    # Text stays text: small files that say the same in every run of the same figures.
    "svg.fonttype": "none",
    "svg.hashsalt": "annals",
}


def draw(run: dict, folder: Path) -> None:
    """Writes every plot of a run into a folder."""
    figures = Figures(run)
    plan = run["plan"]
    with plt.rc_context(STYLE):
        producers(figures, plan, folder)
        latency(figures, plan, folder)
        bars(
            [
                (cell.way.key, cell.way.label, cell.rate)
                for cell in durable(figures, "batch", plan["batches_in_flight"])
            ],
            f"events a second, in batches of {plan['batch_events']:,}",
            folder / "batches.svg",
        )
        sizes = [(way.key, way.label, figures.bytes_per_event(way)) for way in figures.ways]
        sizes = sorted(((key, label, size[0]) for key, label, size in sizes if size), key=lambda bar: bar[2])
        bars(sizes, "bytes on the disk for each event", folder / "size.svg")


def producers(figures: Figures, plan: dict, folder: Path) -> None:
    """A line for each way that is durable: its rate over the number of producers."""
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    lines: dict[str, list[tuple[int, Cell]]] = {}
    for count in plan["producers"]:
        for cell in durable(figures, "single", count):
            lines.setdefault(cell.way.key, []).append((count, cell))
    ordered = sorted(lines.items(), key=lambda line: -line[1][-1][1].rate)
    for key, line in ordered:
        look = look_of(key, figures)
        axes.plot([count for count, _ in line], [cell.rate for _, cell in line], label=line[0][1].way.label, **look)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(plan["producers"], [str(count) for count in plan["producers"]])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(thousands())
    axes.set_xlabel("producers, each waiting until its event is durable")
    axes.set_ylabel("events a second")
    axes.grid(axis="y", which="major")
    legend_beside(axes)
    save(figure, folder / "producers.svg")


def latency(figures: Figures, plan: dict, folder: Path) -> None:
    """From the median to 999 of 1,000 calls, a line for each way."""
    scenario = plan["scenario"]
    count = scenario["producers"] if scenario else sorted(plan["producers"])[len(plan["producers"]) // 2]
    cells = sorted(durable(figures, "single", count, scenario=bool(scenario)), key=lambda cell: -cell.p50)
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(cells) + 1.2), layout="constrained")
    for row, cell in enumerate(cells):
        colour = look_of(cell.way.key, figures)["color"]
        axes.plot([cell.p50, cell.p999], [row, row], color=colour, linewidth=2, solid_capstyle="round")
        for value, marker, size in ((cell.p50, "o", 7), (cell.p99, "D", 6), (cell.p999, "|", 11)):
            axes.plot(value, row, marker=marker, markersize=size, color=colour, markeredgewidth=2)
    axes.set_yticks(range(len(cells)), [cell.way.label for cell in cells])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(thousands())
    axes.xaxis.set_minor_formatter(NullFormatter())
    what = SCENARIO if scenario else f"{plan['seconds']:g} s"
    axes.set_xlabel(f"µs until durable, {count} producers, {what}: ● median   ◆ 99 %   | 99.9 %")
    axes.grid(axis="x", which="major")
    axes.tick_params(axis="y", length=0)
    save(figure, folder / "latency.svg")


def bars(rows: list[tuple[str, str, float]], what: str, file: Path) -> None:
    """A bar for each way, with its figure."""
    rows = rows[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(rows) + 1.0), layout="constrained")
    colours = [HIGHLIGHT if key in ANNALS else LIMIT_COLOUR if key == LIMIT else INK for key, _, _ in rows]
    drawn = axes.barh([label for _, label, _ in rows], [value for _, _, value in rows], color=colours, height=0.66)
    axes.bar_label(drawn, labels=[f"{value:,.0f}" for _, _, value in rows], padding=4, color=INK)
    axes.set_xlabel(what)
    axes.xaxis.set_major_formatter(thousands())
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    save(figure, file)


def durable(figures: Figures, mode: str, count: int, scenario: bool = False) -> list[Cell]:
    """The ways that can be compared: what is not durable does something else."""
    return [cell for cell in figures.table(mode, count, scenario) if cell.way.durable]


def look_of(key: str, figures: Figures) -> dict:
    """How a way's line looks: the same in every plot."""
    others = [way.key for way in figures.ways if way.key not in ANNALS and way.key != LIMIT]
    if key in ANNALS:
        return {"color": HIGHLIGHT, "linewidth": 2.6, "marker": "o", "linestyle": "-" if key == ANNALS[0] else "--"}
    if key == LIMIT:
        return {"color": LIMIT_COLOUR, "linewidth": 2.2, "marker": "s", "linestyle": "-"}
    place = others.index(key)
    return {"color": OTHERS[place % len(OTHERS)], "linewidth": 1.3, "marker": MARKERS[place % len(MARKERS)]}


def legend_beside(axes: Axes) -> None:
    """Beside the plot, in the order of the lines' right ends."""
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def thousands() -> FuncFormatter:
    """10000 as 10,000."""
    return FuncFormatter(lambda value, _place: f"{value:,.0f}")


def save(figure: plt.Figure, file: Path) -> None:
    """Without the date, so that the same figures give the same file."""
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
