"""Plots as SVG, drawn here, so that a page needs no script for them. Colours come from the style sheet, by class. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup

_WIDTH: Final = 600
_HEIGHT: Final = 120
_TOP: Final = 6  # so that the line of the greatest value is drawn whole
_STEPS: Final = (1, 2, 5)

_CHART: Final = Markup(
    '<figure class="chart"><figcaption>{title}</figcaption>'
    '<ul class="legend">{legend}</ul>'
    '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">'
    '<path class="grid" d="M0 {top}H{width}M0 {middle}H{width}M0 {height}H{width}"/>{lines}</svg>'
    '<div class="scale"><span>{begin}</span><span>at most {most} {unit}</span><span>{end}</span></div></figure>'
)
_LINE: Final = Markup('<path class="line {name}" d="{path}"/>')
_KEY: Final = Markup('<li class="{name}">{text}</li>')
_TIME: Final = Markup('<time datetime="{iso}">{text} UTC</time>')


def chart(points: Sequence[Mapping[str, Any]], title: str, lines: Mapping[str, str], unit: str = "") -> Markup:
    """One line for each of `lines`: the name of a number in each point, which is also the line's class, and its words.

    A point has `at`, as ISO 8601; where a number is None, the line has a gap.
    """
    values = [point[name] for point in points for name in lines if point[name] is not None]
    most = round_up(max(values, default=0))
    drawn = [_LINE.format(name=name, path=_path([point[name] for point in points], most)) for name in lines]
    keys = [_KEY.format(name=name, text=text) for name, text in lines.items()]
    peaks = ", ".join(f"{text} {_peak(points, name)}" for name, text in lines.items())
    return _CHART.format(
        title=title, legend=Markup().join(keys), width=_WIDTH, height=_HEIGHT, top=_TOP, middle=(_TOP + _HEIGHT) / 2,
        label=f"{title}; the greatest values are: {peaks} {unit}".strip(), lines=Markup().join(drawn), most=f"{most:g}", unit=unit,
        begin=_moment(points[0]["at"]) if points else "", end=_moment(points[-1]["at"]) if points else "",
    )  # fmt: skip


def round_up(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, ... and 0.5, 0.2, ... that is not below the value; 1 for nothing."""
    if value <= 0:
        return 1
    power = 1.0
    while power > value:
        power /= 10
    while power * 10 < value:
        power *= 10
    return next(step for step in (power * each for each in (*_STEPS, 10)) if step >= value)


def _path(values: Sequence[float | None], most: float) -> str:
    wide = _WIDTH / max(1, len(values) - 1)
    words: list[str] = []
    drawing = False
    for place, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        height = _HEIGHT - (_HEIGHT - _TOP) * value / most
        words.append(f"{'L' if drawing else 'M'}{place * wide:.1f} {height:.1f}")
        if not drawing:
            words.append("h0.1")  # a point between two gaps is seen, too
        drawing = True
    return "".join(words)


def _peak(points: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [point[name] for point in points if point[name] is not None]
    return f"{max(values):g}" if values else "none"


def _moment(at: str) -> Markup:
    return _TIME.format(iso=at, text=datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M"))
