"""Charts as SVG, rendered on the server: geometry and labels; styles come from CSS.

Shapes are pre-rendered path strings: a template renders one string faster than many numbers.
Series differ by pattern and label, not by colour alone; a table below shows the same figures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 32
_INNER_WIDTH, _INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
#: Labels of time that fit side by side.
_MOST_LABELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    series: str
    #: `d` of a path.
    drawn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A bucket: its bars, its tooltip, and the hover area."""

    #: `d` of a path.
    area: str
    told: str
    bars: list[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    series: str
    #: `points` of polylines: a line is broken where nothing is known.
    pieces: list[str]
    #: `d` of a path that has no length at each point: what is drawn there is its round end.
    dots: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    columns: list[Column]
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def stacked(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], told: Sequence[str]
) -> Chart:
    """Bars, one a bucket, of the series one on the other; the first lies at the bottom."""
    sums = [sum(values[i] for _, values in series) for i in range(len(labels))]
    top, ticks = _scale(max(sums, default=0))
    step = _INNER_WIDTH / max(1, len(labels))
    columns = []
    for i, text in enumerate(told):
        x, y, bars = LEFT + i * step, float(HEIGHT - BOTTOM), []
        for name, values in series:
            height = values[i] / top * _INNER_HEIGHT
            if not height:
                continue
            y -= height
            drawn = _rectangle(x + step * 0.1, y, step * 0.8, height)
            bars.append(Bar(series=name, drawn=drawn))
        columns.append(Column(area=_area(x, step), told=text, bars=bars))
    return Chart(columns=columns, lines=[], x_ticks=_times(labels, step), y_ticks=ticks)


def lines(
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[int | None]]],
    told: Sequence[str],
) -> Chart:
    """Lines over time; a bucket without a value breaks a line."""
    top, ticks = _scale(max((v for _, values in series for v in values if v), default=0))
    step = _INNER_WIDTH / max(1, len(labels))

    def point(i: int, value: int) -> tuple[float, float]:
        y = HEIGHT - BOTTOM - value / top * _INNER_HEIGHT
        return round(LEFT + (i + 0.5) * step, 2), round(y, 2)

    columns = [
        Column(area=_area(LEFT + i * step, step), told=text, bars=[]) for i, text in enumerate(told)
    ]
    drawn = [_line(name, values, point) for name, values in series]
    return Chart(columns=columns, lines=drawn, x_ticks=_times(labels, step), y_ticks=ticks)


def _number(length: float) -> str:
    return f"{length:.2f}"


def _rectangle(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.2f} {y:.2f}h{width:.2f}v{height:.2f}h-{width:.2f}z"


def _area(x: float, width: float) -> str:
    """All the height over a bucket."""
    return _rectangle(x, TOP, width, HEIGHT - BOTTOM - TOP)


def _line(
    name: str,
    values: Sequence[int | None],
    point: Callable[[int, int], tuple[float, float]],
) -> Line:
    pieces: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append(point(i, value))
    dots = [dot for piece in pieces for dot in piece]
    return Line(
        series=name,
        pieces=[" ".join(f"{x},{y}" for x, y in piece) for piece in pieces if len(piece) > 1],
        dots="".join(f"M{x} {y}h0" for x, y in dots),
    )


def _scale(largest: int) -> tuple[int, list[Tick]]:
    """A round number above the largest value, and lines at its quarters."""
    step = 1
    while step * 4 < largest:
        step = _next(step)
    ticks = [
        Tick(at=_number(HEIGHT - BOTTOM - i / 4 * _INNER_HEIGHT), text=short(step * i))
        for i in range(5)
    ]
    return step * 4, ticks


def _next(step: int) -> int:
    """1, 2, 5, 10, 20, 50, and so on."""
    first = int(str(step)[0])
    return step * 2 if first != 2 else step // 2 * 5


def short(number: int) -> str:
    """A number in a few characters: 950, 12k, 1.5M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


def _times(labels: Sequence[str], step: float) -> list[Tick]:
    every = -(-len(labels) // _MOST_LABELS)
    return [
        Tick(at=_number(LEFT + (i + 0.5) * step), text=labels[i])
        for i in range(0, len(labels), max(1, every))
    ]
