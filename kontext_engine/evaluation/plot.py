"""Line plots as SVG text: medians, a band between the quartiles, a reference line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 118, 30, 40


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
    axes = Axes(len(ticks), min(0.0, *values), max(values) * 1.04)
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


def _frame(axes: Axes, ticks: Sequence[str]) -> list[str]:
    parts = []
    for k in range(5):
        value = axes.bottom + (axes.top - axes.bottom) * k / 4
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
        f'<text x="{_WIDTH - _RIGHT + 4}" y="{_TOP + 12 + 16 * k}" fill="{line.colour}" '
        f'font-weight="600">{escape(line.name)}</text>'
        for k, line in enumerate(lines)
    ]
