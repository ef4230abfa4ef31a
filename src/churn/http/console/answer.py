"""How a probability and what weighs in it are told to people."""

from typing import Final

import msgspec

from churn.domain.employee import FEATURES, Employee
from churn.domain.explanation import LABELS, NEGLIGIBLE, sentence
from churn.domain.manifest import Manifest
from churn.domain.prediction import RISK_MESSAGES, Risk
from churn.http.console.charts import population, share_bar
from churn.http.console.words import TEXTS, Formats

#: Probabilities this close to the average are told as close: within a tenth of it.
_CLOSE: Final = 0.1


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A probability, as it is told."""

    risk: Risk
    message: str
    percent: str
    sentences: tuple[str, ...]
    chart: str
    legend: tuple[tuple[str, str, str], ...]
    """Class, name and figure of each mark of the chart."""
    change: str
    """Against the probability before; empty without one."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One fact's part in an answer."""

    label: str
    value: str
    sentence: str
    bar: str
    log_odds: float


def answer_of(
    formats: Formats,
    probability: float,
    *,
    threshold: float,
    risk: Risk,
    manifest: Manifest | None,
    before: float | None = None,
) -> Answer:
    """How `probability` is told.

    Args:
        formats: in whose language.
        probability: of leaving, in [0, 1].
        threshold: from which a departure is predicted.
        risk: that the probability stands for.
        manifest: of the model that said it; None leaves out what the population is like.
        before: that of the same person, before a change.
    """
    texts = TEXTS[formats.language]["score"]

    def mark(class_: str, share: float) -> tuple[str, str, str]:
        return class_, texts[class_], formats.percent(share)

    of_hundred = round(100 * probability)
    frequency = "hardly_any" if of_hundred < 1 else "nearly_all" if of_hundred > 99 else "in_words"  # noqa: PLR2004
    text = texts[frequency]
    sentences = [formats.count(text, of_hundred) if frequency == "in_words" else text]
    legend = [mark("person", probability)]
    if before is not None:
        legend.append(mark("before", before))
    if manifest is not None:
        ratio, mean = probability / manifest.base_rate, formats.percent(manifest.base_rate)
        comparison = "average" if abs(ratio - 1) <= _CLOSE else "above" if ratio > 1 else "below"
        times = formats.number(ratio if ratio > 1 else 1 / max(ratio, 0.01), 1)
        rank = formats.percent(manifest.score_histogram.share_below(probability, low=0.0, high=1.0))
        sentences += [texts[comparison].format(times=times, mean=mean), texts["rank"].format(share=rank)]
        legend.append(mark("mean", manifest.base_rate))
    legend.append(mark("threshold", threshold))
    if manifest is not None:
        legend.append(("crowd", texts["crowd"], ""))
    return Answer(
        risk=risk,
        message=RISK_MESSAGES[formats.language][risk],
        percent=formats.percent(probability),
        sentences=tuple(sentences),
        chart=population(
            None if manifest is None else manifest.score_histogram,
            probability=probability,
            threshold=threshold,
            base_rate=None if manifest is None else manifest.base_rate,
            before=before,
        ),
        legend=tuple(legend),
        change="" if before is None else formats.points(of_hundred - round(100 * before)),
    )


def shares_of(formats: Formats, employee: Employee, contributions: tuple[float, ...] | None) -> list[Share] | None:
    """What each fact of `employee` adds, the strongest first; None if the model does not say."""
    if contributions is None:
        return None
    largest = max(map(abs, contributions)) or 1.0
    values = msgspec.to_builtins(employee)
    return [
        Share(
            label=LABELS[formats.language][feature],
            value=formats.value(feature, values[feature]),
            sentence=sentence(feature, log_odds, formats.language),
            bar=share_bar(0.0 if abs(log_odds) < NEGLIGIBLE else log_odds, largest),
            log_odds=log_odds,
        )
        for feature, log_odds in sorted(
            zip(FEATURES, contributions, strict=True), key=lambda item: abs(item[1]), reverse=True
        )
    ]
