"""The figures of the model card, as SVG."""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from churn.domain.explanation import LABELS
from churn.domain.language import Language
from churn.domain.manifest import Feature, Manifest

# Panel size and the room around a plot, in user units of the SVG (pixels at its natural size).
_WIDTH, _HEIGHT = 300, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 26
_COLUMNS = 3
# Works on light and on dark pages.
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;fill:#24292f}"
    ".axis{stroke:#8c959f;stroke-width:1}.line{stroke:#0969da;stroke-width:2;fill:none}.dot{fill:#0969da}"
    ".ideal{stroke:#8c959f;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#f0f6fc}.line{stroke:#4493f8}.dot{fill:#4493f8}}"
)


def draw_effects(manifest: Manifest) -> str:
    """How every feature moves the log-odds over its training range, on one scale; one panel each."""
    features = [feature for feature in manifest.features if feature.effect is not None]
    scores = [score for feature in features if feature.effect for score in feature.effect.scores]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    panels = [
        _panel(i, _Axes(LABELS[Language.EN][feature.name], (feature.low, feature.high), (low, high)), _steps(feature))
        for i, feature in enumerate(features)
    ]
    rows = -(-len(panels) // _COLUMNS)
    return _document("How each feature moves the log-odds of leaving", _COLUMNS * _WIDTH, rows * _HEIGHT, panels)


def draw_reliability(manifest: Manifest) -> str:
    """The share that left against the probability said, with 95 % intervals and the ideal."""
    # Up to the next tenth.
    top = math.ceil(10 * max([0.1, *(max(each.said, each.left.high) for each in manifest.reliability)])) / 10
    axis = (0.0, top)
    x, y = _scale(axis, _LEFT, _WIDTH - _RIGHT), _scale(axis, _HEIGHT - _BOTTOM, _TOP)
    marks = [f'<path class="ideal" d="M{x(0):.1f} {y(0):.1f}L{x(top):.1f} {y(top):.1f}"/>']
    for each in manifest.reliability:
        at = x(each.said)
        marks.append(f'<path class="axis" d="M{at:.1f} {y(each.left.low):.1f}V{y(each.left.high):.1f}"/>')
        marks.append(f'<circle class="dot" cx="{at:.1f}" cy="{y(each.left.estimate):.1f}" r="3"/>')
    panel = _panel(0, _Axes("Share that left by probability said", axis, axis), [], marks)
    return _document("Reliability: the share that left by the probability said", _WIDTH, _HEIGHT, [panel])


def _steps(feature: Feature) -> list[tuple[float, float]]:
    if feature.effect is None:
        return []
    borders = [feature.low, *(min(max(cut, feature.low), feature.high) for cut in feature.effect.cuts), feature.high]
    return [
        point
        for (start, end), score in zip(pairwise(borders), feature.effect.scores, strict=True)
        for point in ((start, score), (end, score))
    ]


class _Axes(NamedTuple):
    """What a panel shows: the ends of its axes, in the units of the data."""

    title: str
    x: tuple[float, float]
    y: tuple[float, float]


def _panel(index: int, axes: _Axes, points: Sequence[tuple[float, float]], marks: Iterable[str] = ()) -> str:
    title, x_range, y_range = axes
    x, y = _scale(x_range, _LEFT, _WIDTH - _RIGHT), _scale(y_range, _HEIGHT - _BOTTOM, _TOP)
    base = y(min(max(0.0, y_range[0]), y_range[1]))
    line = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in points)
    return (
        f'<g transform="translate({index % _COLUMNS * _WIDTH} {index // _COLUMNS * _HEIGHT})">'
        f'<text class="title" x="{_LEFT}" y="20">{escape(title)}</text>'
        f'<path class="axis" d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}M{_LEFT} {base:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{x_range[0]:g}</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">{x_range[1]:.6g}</text>'
        f'<text x="{_LEFT - 5}" y="{_TOP + 4}" text-anchor="end">{y_range[1]:.2f}</text>'
        f'<text x="{_LEFT - 5}" y="{_HEIGHT - _BOTTOM + 4}" text-anchor="end">{y_range[0]:.2f}</text>'
        + (f'<path class="line" d="M{line}"/>' if line else "")
        + "".join(marks)
        + "</g>"
    )


def _scale(values: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    low, high = values
    return lambda value: start + (value - low) / ((high - low) or 1.0) * (end - start)


def _document(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img"><title>{escape(title)}</title><style>{_STYLE}</style>{"".join(parts)}</svg>\n'
    )
