"""Charts as SVG, drawn by the server.

Pure: numbers in, markup out. Nothing has a style of its own, because the page's policy forbids it: the style sheet
gives classes their colours. Horizontal positions are percentages, so a chart is as wide as its place while its
text keeps its size.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from churn.domain.manifest import Effect, Histogram, Interval, ReliabilityBin

#: Pixels.
_POPULATION_HEIGHT: Final = 72
_MARKER_TOP: Final = 6


def _tag(name: str, **attributes: object) -> Markup:
    """An element without content; `class_` is the attribute `class`, and `_` stands for `-`."""
    parts = [Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    return Markup("<{}{}/>").format(Markup(name), Markup("").join(parts))  # noqa: S704 - names are ours


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.3g}%"


def share_bar(value: float, largest: float) -> Markup:
    """A bar from the middle to the right for a positive `value`, to the left for a negative one.

    It fills its half when |value| is `largest`, above 0.
    """
    width = 50 * min(abs(value) / largest, 1.0)
    start = 50.0 if value >= 0 else 50 - width
    return Markup('<svg class="share {}" aria-hidden="true">{}{}{}</svg>').format(
        "raises" if value > 0 else "lowers",
        _tag("rect", class_="track", width="100%", height="100%"),
        _tag("rect", class_="bar", x=f"{start:.4g}%", width=f"{width:.4g}%", height="100%"),
        _tag("line", class_="axis", x1="50%", x2="50%", y1=0, y2="100%"),
    )


def population(
    histogram: Histogram | None, *, probability: float, threshold: float, base_rate: float | None, before: float | None
) -> Markup:
    """Where a probability lies among those of the reference population.

    Args:
        histogram: of the reference population's probabilities; None draws the scale alone.
        probability: to point at.
        threshold: from which a departure is predicted.
        base_rate: mean of the population.
        before: another probability, that of the same person before a change.
    """
    height = _POPULATION_HEIGHT
    parts = [_tag("rect", class_="ground", y=height - 4, width="100%", height=4)]
    if histogram is not None and any(histogram.counts):
        edges = (0.0, *histogram.edges, 1.0)
        widths = [high - low for low, high in pairwise(edges)]
        densities = [count / width if width > 0 else 0.0 for count, width in zip(histogram.counts, widths, strict=True)]
        highest = max(densities) or 1.0
        for low, width, density in zip(edges, widths, densities, strict=False):
            bar = (height - 16) * density / highest
            parts.append(
                _tag(
                    "rect",
                    class_="crowd",
                    x=_percent(low),
                    width=_percent(width),
                    y=f"{height - 4 - bar:.2f}",
                    height=f"{bar:.2f}",
                )
            )
    if base_rate is not None:
        parts.append(_line("mean", base_rate, _MARKER_TOP, height))
    parts.append(_line("threshold", threshold, _MARKER_TOP, height))
    if before is not None:
        parts.append(_tag("circle", class_="before", cx=_percent(before), cy=height - 2, r=6))
    parts.extend(
        (
            _line("person", probability, _MARKER_TOP, height),
            _tag("circle", class_="person", cx=_percent(probability), cy=height - 2, r=7),
        )
    )
    return Markup('<svg class="population" height="{}" aria-hidden="true">{}</svg>').format(
        height + 8, Markup("").join(parts)
    )


def _line(class_: str, share: float, top: float, bottom: float | str) -> Markup:
    position = _percent(share)
    return _tag("line", class_=class_, x1=position, x2=position, y1=top, y2=bottom)


def bars(shares: Sequence[float], *, highest: float, class_: str) -> Markup:
    """Bars of equal width for `shares`, in [0, 1], in which `highest`, above 0, is as high as the chart."""
    width = 1 / max(len(shares), 1)
    drawn = [
        _tag(
            "rect",
            x=_percent(position * width),
            width=_percent(width * 0.9),
            y=_percent(1 - share / highest),
            height=_percent(share / highest),
        )
        for position, share in enumerate(shares)
    ]
    return Markup('<svg class="bars {}" aria-hidden="true">{}</svg>').format(class_, Markup("").join(drawn))


def distribution(shares: Sequence[float], *, threshold: float) -> Markup:
    """How many of a group have which probability: `shares` of equal parts of [0, 1], and where the threshold is."""
    return Markup('<div class="distribution">{}<svg class="over" aria-hidden="true">{}</svg></div>').format(
        bars(shares, highest=max(shares, default=0.0) or 1.0, class_="crowd"),
        _line("threshold", threshold, 0, "100%"),
    )


def calibration(bins: Sequence[ReliabilityBin]) -> Markup:
    """The share that left against the probability said, with its 95 % interval; on the diagonal, they agree."""
    highest = max((bin_.left.high for bin_ in bins), default=1.0)
    highest = max(highest, *(bin_.said for bin_ in bins), 0.01) if bins else 1.0

    def at(share: float) -> str:
        return _percent(share / highest)

    def up(share: float) -> str:
        return _percent(1 - share / highest)

    parts = [_tag("line", class_="axis diagonal", x1="0", y1="100%", x2="100%", y2="0")]
    for bin_ in bins:
        parts += [
            _tag(
                "line",
                class_="interval",
                x1=at(bin_.said),
                x2=at(bin_.said),
                y1=up(bin_.left.low),
                y2=up(bin_.left.high),
            ),
            _tag("circle", class_="point", cx=at(bin_.said), cy=up(bin_.left.estimate), r=4),
        ]
    return Markup('<svg class="plot square" aria-hidden="true">{}</svg>').format(Markup("").join(parts))


def steps(effect: Effect, low: float, high: float) -> Markup:
    """A feature's share in the log-odds from `low` to `high`; the middle line is no share at all."""
    edges = [low, *(min(max(cut, low), high) for cut in effect.cuts), high]
    width = (high - low) or 1.0
    largest = max(map(abs, effect.scores), default=0.0) or 1.0
    points = []
    for start, end, score in zip(edges, edges[1:], effect.scores, strict=False):
        y = 50 - 46 * score / largest
        points += [f"{100 * (start - low) / width:.4g},{y:.4g}", f"{100 * (end - low) / width:.4g},{y:.4g}"]
    return _curve(points, "effect")


def _curve(points: Sequence[str], class_: str) -> Markup:
    """A line through `points`, in percent of the width and the height, over a line in the middle."""
    return Markup(
        '<svg class="curve {}" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}{}</svg>'
    ).format(
        class_,
        _tag("line", class_="axis", x1=0, x2=100, y1=50, y2=50, vector_effect="non-scaling-stroke"),
        _tag("polyline", class_="line", points=" ".join(points), vector_effect="non-scaling-stroke"),
    )


def trend(points: Sequence[tuple[float, float]], *, level: float) -> Markup:
    """A line through `points`, each a pair of shares of the width and the height, over a dashed `level`."""
    drawn = [f"{100 * x:.4g},{100 * (1 - y):.4g}" for x, y in points]
    dots = [_tag("circle", class_="point", cx=_percent(x), cy=_percent(1 - y), r=3) for x, y in points]
    return Markup(
        '<div class="distribution"><svg class="curve trend" viewBox="0 0 100 100" preserveAspectRatio="none" '
        'aria-hidden="true">{}{}</svg><svg class="over plain" aria-hidden="true">{}</svg></div>'
    ).format(
        _tag(
            "line",
            class_="level",
            x1=0,
            x2=100,
            y1=100 - 100 * level,
            y2=100 - 100 * level,
            vector_effect="non-scaling-stroke",
        ),
        _tag("polyline", class_="line", points=" ".join(drawn), vector_effect="non-scaling-stroke"),
        Markup("").join(dots),
    )


def gauge(*, said: float, happened: Interval) -> Markup:
    """The share that left with its interval, and the mean probability that was said, on one line from 0 to 1."""
    return Markup('<svg class="line-gauge" aria-hidden="true">{}{}{}{}</svg>').format(
        _tag("rect", class_="track", y=8, width="100%", height=4),
        _tag(
            "rect",
            class_="interval",
            x=_percent(happened.low),
            width=_percent(happened.high - happened.low),
            y=5,
            height=10,
        ),
        _tag("circle", class_="point", cx=_percent(happened.estimate), cy=10, r=5),
        _line("said", said, 0, 20),
    )
