"""A small chart in SVG: axes with round ticks, lines, areas, points, bands. For self-contained documents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

__all__ = ["Chart", "round_ticks"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 14.0, 12.0, 40.0
_TICK_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values from `low` to `high`, evenly spaced, at most `most` of them where that is possible."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / max(most - 1, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in _TICK_STEPS if factor * magnitude >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


class Chart:
    """Collects marks in data coordinates; what leaves the plot's area is clipped.

    Args:
        name: unique in the document.
        summary: what the chart shows, for readers who cannot see it.
        x_range, y_range: of the data.
        x_label, y_label: of the axes, with unit.
        width, height: pixels of the viewBox; the chart scales with its container.
        has_y_ticks: False for categories.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_label: str,
        y_label: str,
        width: float = 600.0,
        height: float = 250.0,
        has_y_ticks: bool = True,
    ) -> None:
        self._name = name
        self._summary = summary
        self._x_range = x_range
        self._y_range = y_range
        self._labels = (x_label, y_label)
        self._size = (width, height)
        self._has_y_ticks = has_y_ticks
        self._marks: list[str] = []
        self._notes: list[str] = []

    def x(self, value: float) -> float:
        """Return the horizontal position of a value, viewBox pixels."""
        low, high = self._x_range
        return _LEFT + (value - low) / ((high - low) or 1.0) * (self._size[0] - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Return the vertical position of a value, viewBox pixels."""
        low, high = self._y_range
        return self._size[1] - _BOTTOM - (value - low) / ((high - low) or 1.0) * (self._size[1] - _TOP - _BOTTOM)

    def line(self, xs: Sequence[float], ys: Sequence[float], color: str, width: float = 1.6) -> None:
        """Join points; those that are not finite interrupt the line."""
        path, is_down = [], False
        for x, y in zip(xs, ys, strict=True):
            if not (math.isfinite(x) and math.isfinite(y)):
                is_down = False
                continue
            path.append(f"{'L' if is_down else 'M'}{self.x(x):.1f} {self.y(y):.1f}")
            is_down = True
        self._marks.append(f'<path d="{"".join(path)}" fill="none" stroke="{color}" stroke-width="{width}"/>')

    def area(self, xs: Sequence[float], lower: Sequence[float], upper: Sequence[float], color: str) -> None:
        """Fill between two lines."""
        forth = [f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in zip(xs, upper, strict=True)]
        back = [f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in zip(reversed(xs), reversed(lower), strict=True)]
        self._marks.append(f'<path d="M{"L".join(forth + back)}Z" fill="{color}"/>')

    def points(self, xs: Sequence[float], ys: Sequence[float], color: str, titles: Sequence[str]) -> None:
        """Draw dots that tell their title under the pointer."""
        for x, y, title in zip(xs, ys, titles, strict=True):
            self._marks.append(
                f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="2.6" fill="{color}">'
                f"<title>{escape(title)}</title></circle>"
            )

    def rectangle(
        self, x_range: tuple[float, float], y_range: tuple[float, float], color: str, title: str = ""
    ) -> None:
        """Fill a rectangle that tells its title under the pointer."""
        left, right = self.x(x_range[0]), self.x(x_range[1])
        bottom, top = self.y(y_range[0]), self.y(y_range[1])
        self._marks.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0.5):.1f}" height="{bottom - top:.1f}" '
            f'fill="{color}"><title>{escape(title)}</title></rect>'
        )

    def picture(self, data_url: str) -> None:
        """Fill the plot's area with a picture."""
        width, height = self._size
        self._marks.append(
            f'<image href="{data_url}" x="{_LEFT}" y="{_TOP}" width="{width - _LEFT - _RIGHT}" '
            f'height="{height - _TOP - _BOTTOM}" preserveAspectRatio="none"/>'
        )

    def rule(self, value: float, text: str, color: str) -> None:
        """Draw a dashed horizontal line with a text on its right end."""
        y = self.y(value)
        self._marks.append(
            f'<line x1="{_LEFT}" x2="{self._size[0] - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}" '
            'stroke-width="1.2" stroke-dasharray="5 4"/>'
        )
        self._notes.append(
            f'<text x="{self._size[0] - _RIGHT - 4}" y="{y - 5:.1f}" text-anchor="end">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """Return the chart as an inline SVG element."""
        width, height = self._size
        right, bottom = width - _RIGHT, height - _BOTTOM
        clip = f"clip-{self._name}"
        parts = [
            f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(self._summary)}">',
            f'<clipPath id="{clip}"><rect x="{_LEFT}" y="{_TOP}" width="{right - _LEFT}" height="{bottom - _TOP}"/>'
            "</clipPath>",
        ]
        for tick in round_ticks(*self._y_range) if self._has_y_ticks else []:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<g clip-path="url(#{clip})">{"".join(self._marks)}</g>')
        for tick in round_ticks(*self._x_range, most=9):
            x = self.x(tick)
            parts.append(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        x_label, y_label = self._labels
        middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
        parts.append(
            f'<text class="label" x="{middle_x}" y="{height - 5}" text-anchor="middle">{escape(x_label)}</text>'
        )
        parts.append(
            f'<text class="label" transform="translate(13 {middle_y}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )
        return "".join([*parts, *self._notes, "</svg>"])
