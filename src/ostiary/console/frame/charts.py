"""Charts as SVG, rendered on the server at the size they are seen at: geometry and labels.

Across, everything is a share of the width in per cent, so that a chart is as wide as its place; up and
down, and in its texts, everything has its own size. Nothing is scaled. Styles come from CSS; series
differ by pattern and label, not by colour alone; a table below shows the same figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

#: Pixels above and below the plot: half a label of the axis, and the labels of time.
TOP, BOTTOM = 10, 28
#: Labels of time that fit side by side where there is room; every other one where there is little.
_MOST_LABELS = 8
#: Fewer buckets than these stand at the right, as wide as these would be.
_LEAST_SLOTS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    series: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A bucket: its bars, what is read out of it, and where its calls are listed."""

    x: str
    width: str
    told: str
    #: Address of the log; empty: it keeps no calls of that time.
    logs: str
    bars: list[Box]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    series: str
    #: `points` of polylines, across in per cent without the sign: a line is broken where nothing is known.
    pieces: list[str]
    #: Across, down.
    dots: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: str
    text: str
    #: Shown also where there is little room.
    always: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    height: int
    columns: list[Column]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line] = field(default_factory=list)
    top: int = TOP

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM

    @property
    def inner(self) -> int:
        return self.height - BOTTOM - TOP


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """What the charts of one course share: a label, a sentence and an address for each bucket."""

    labels: Sequence[str]
    told: Sequence[str]
    logs: Sequence[str]

    @property
    def step(self) -> float:
        """Per cent of the width."""
        return 100 / max(_LEAST_SLOTS, len(self.labels))

    def left(self, i: int) -> float:
        """Where a bucket begins: the newest ends at the right."""
        return 100 - (len(self.labels) - i) * self.step

    def columns(self, bars: Sequence[list[Box]] | None = None) -> list[Column]:
        return [
            Column(
                x=_share(self.left(i)), width=_share(self.step), told=self.told[i],
                logs=self.logs[i], bars=bars[i] if bars else [],
            )
            for i in range(len(self.labels))
        ]  # fmt: skip

    def ticks(self) -> list[Tick]:
        """Labels of time; the newest bucket has one."""
        count = len(self.labels)
        every = max(1, -(-count // _MOST_LABELS))
        chosen = range(count - 1, -1, -every)
        few = count <= _MOST_LABELS // 2
        return [
            Tick(
                at=_share(self.left(i) + self.step / 2),
                text=self.labels[i],
                always=few or number % 2 == 0,
            )
            for number, i in enumerate(chosen)
        ]


def stacked(buckets: Buckets, series: Sequence[tuple[str, Sequence[int]]], *, height: int) -> Chart:
    """Bars, one a bucket, of the series one on the other; the first lies at the bottom."""
    sums = [sum(values[i] for _, values in series) for i in range(len(buckets.labels))]
    top, ticks = _scale(max(sums, default=0), height)
    inner = height - TOP - BOTTOM
    bars = []
    for i in range(len(buckets.labels)):
        y, boxes = float(height - BOTTOM), []
        for name, values in series:
            if not values[i]:
                continue
            # What there is can be seen, however little it is.
            tall = max(1.0, values[i] / top * inner)
            y -= tall
            boxes.append(
                Box(
                    series=name, x=_share(buckets.left(i) + buckets.step * 0.1), y=f"{y:.1f}",
                    width=_share(buckets.step * 0.8), height=f"{tall:.1f}",
                )
            )  # fmt: skip
        bars.append(boxes)
    return Chart(
        height=height, columns=buckets.columns(bars), x_ticks=buckets.ticks(), y_ticks=ticks
    )


def lines(
    buckets: Buckets, series: Sequence[tuple[str, Sequence[int | None]]], *, height: int
) -> Chart:
    """Lines over time; a bucket without a value breaks a line."""
    top, ticks = _scale(max((v for _, values in series for v in values if v), default=0), height)
    inner = height - TOP - BOTTOM

    drawn = []
    for name, values in series:
        pieces: list[list[tuple[float, float]]] = [[]]
        for i, value in enumerate(values):
            if value is None:
                pieces.append([])
            else:
                y = height - BOTTOM - value / top * inner
                pieces[-1].append((buckets.left(i) + buckets.step / 2, y))
        drawn.append(
            Line(
                series=name,
                pieces=[
                    " ".join(f"{x:.3f},{y:.1f}" for x, y in piece)
                    for piece in pieces
                    if len(piece) > 1
                ],
                dots=[(_share(x), f"{y:.1f}") for piece in pieces for x, y in piece],
            )
        )
    return Chart(
        height=height, columns=buckets.columns(), lines=drawn, x_ticks=buckets.ticks(),
        y_ticks=ticks,
    )  # fmt: skip


def _share(per_cent: float) -> str:
    return f"{per_cent:.3f}%"


def _scale(largest: int, height: int) -> tuple[int, list[Tick]]:
    """A round number just above the largest value, and as many lines as have room, five at most."""
    most = 5 if height >= 160 else 2
    step = 1
    while step * most < largest:
        step = _next(step)
    count = max(1, -(-largest // step))
    inner = height - TOP - BOTTOM
    ticks = [
        Tick(at=f"{height - BOTTOM - i / count * inner:.1f}", text=short(step * i))
        for i in range(count + 1)
    ]
    return step * count, ticks


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
