"""Line plots as SVG text: medians, a band between the quartiles, a reference line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 92, 32, 40


@dataclass(frozen=True, slots=True)
class Line:
    """One line over the turns: ``median`` with its band, and a CSS colour."""

    name: str
    colour: str
    median: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, slots=True)
class Axes:
    """The plot's frame: from values to pixels."""

    count: int
    bottom: float
    top: float
    step: float  # between the lines of the grid

    def x(self, turn: int) -> float:
        """Where a turn stands."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * turn / max(1, self.count - 1)

    def y(self, value: float) -> float:
        """How high a value stands; outside values stay at the frame."""
        share = (value - self.bottom) / ((self.top - self.bottom) or 1.0)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(1.0, max(0.0, share))


def draw_plot(
    title: str, ticks: Sequence[str], lines: Sequence[Line], reference: Mapping[str, float]
) -> str:
    """An SVG of ``lines`` over ``ticks``, with dashed ``reference`` lines (name: value)."""
    values = [v for line in lines for v in (*line.low, *line.high)] + list(reference.values())
    step = _step(max(values) - min(0.0, *values))
    axes = Axes(
        len(ticks), step * floor(min(0.0, *values) / step), step * ceil(max(values) / step), step
    )
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title, quote=True)}" xmlns="http://www.w3.org/2000/svg">',
        f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>',
        *_frame(axes, ticks),
        *(_reference(axes, name, value) for name, value in reference.items()),
        *(_line(axes, line) for line in lines),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts)


def _step(span: float) -> float:
    """A round distance, so that four to eight grid lines cover ``span``."""
    rough = 10.0 ** floor(log10(span / 4)) if span > 0 else 1.0
    return next((rough * k for k in (1, 2, 2.5, 5) if span / (rough * k) <= 7), rough * 10)


def _frame(axes: Axes, ticks: Sequence[str]) -> list[str]:
    parts = []
    for k in range(round((axes.top - axes.bottom) / axes.step) + 1):
        value = axes.bottom + axes.step * k
        y = axes.y(value)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for k, tick in enumerate(ticks):
        number = f'<text x="{axes.x(k):.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{k}</text>'
        name = (
            f'<text class="small" x="{axes.x(k):.1f}" y="{_HEIGHT - 10}" '
            f'text-anchor="middle">{escape(tick)}</text>'
        )
        parts += [number, name]
    return parts


def _reference(axes: Axes, name: str, value: float) -> str:
    y = axes.y(value)
    return (
        f'<line class="reference" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="small" x="{_WIDTH - _RIGHT + 4}" y="{y + 3:.1f}">{escape(name)}</text>'
    )


def _line(axes: Axes, line: Line) -> str:
    def points(values: Sequence[float]) -> list[str]:
        return [f"{axes.x(k):.1f},{axes.y(v):.1f}" for k, v in enumerate(values)]

    band = " ".join(points(line.high) + points(line.low)[::-1])
    return (
        f'<polygon points="{band}" fill="{line.colour}" opacity="0.14"/>'
        f'<polyline points="{" ".join(points(line.median))}" fill="none" '
        f'stroke="{line.colour}" stroke-width="2.5"/>'
    )


def _legend(lines: Sequence[Line]) -> list[str]:
    return [
        f'<text x="{_WIDTH - 8 - 78 * (len(lines) - 1 - k)}" y="18" text-anchor="end" '
        f'fill="{line.colour}" font-weight="600">{escape(line.name)}</text>'
        for k, line in enumerate(lines)
    ]
