"""The model card: the manifest, in words."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from churn.adapters.joblib_model.bundle import CARD, active_version, read_manifest
from churn.domain.explanation import LABELS
from churn.domain.language import Language
from churn.domain.manifest import Fairness, Feature, Interval, Manifest, Metrics
from churn.training.data import TrainingData
from churn.training.figures import draw_effects, draw_reliability

INTENDED_USE: Final = (
    (
        "To show HR partners and managers which working conditions go with a higher risk of leaving, so that they can"
        " be talked about with the people concerned, and improved."
    ),
    "As one voice among others: a person decides, and can accept or override every prediction.",
)
# Regulation (EU) 2024/1689, annex III, point 4, and regulation (EU) 2016/679, article 22.
FORBIDDEN_USE: Final = (
    "Any decision on a person that rests on the score alone (GDPR, article 22): dismissal, promotion, pay, hiring.",
    "Ranking people for dismissal, or withholding training or promotion from those who seem likely to leave.",
    (
        "Scoring people who have not been told, or without the assessment that the EU AI Act asks of systems that"
        " evaluate employees (annex III, point 4)."
    ),
    "Scoring the employees of an organisation on whose data the model was neither trained nor validated.",
)


def limits(data: TrainingData) -> tuple[str, ...]:
    """What a model trained on `data` cannot tell."""
    return (
        (
            f"It learnt from {len(data.left)} employees, of whom {int(data.left.sum())} left: small differences between"
            " models or groups cannot be seen in so few."
        ),
        "It knows what goes together, not what causes what: changing a feature need not change what happens.",
        "It adds up one effect per feature: it cannot say that two features matter only together.",
        "A value outside the training range counts as the nearest value inside, and is named in the answer.",
        "Age is among its inputs, and other inputs differ between groups: see the fairness section.",
    )


def render_documents(manifest: Manifest) -> Mapping[str, bytes]:
    """What goes into a bundle beside the model and the manifest: the card and its figures, by file name."""
    return {CARD: render_card(manifest).encode(), **_figures(manifest)}


def render_card(manifest: Manifest, *, figures: str = "") -> str:
    """The card in Markdown; `figures` is the folder of its figures, with a slash at its end."""
    evaluation, decision, data = manifest.evaluation, manifest.decision, manifest.data
    parts = [
        f"# Model card: {manifest.version}",
        (
            f"{manifest.recipe.estimator}, trained on {manifest.created_at:%Y-%m-%d} and served as"
            f" {manifest.estimator}. Made from the bundle's manifest, which holds the same as JSON."
        ),
        "## Use",
        "Intended:",
        _list(manifest.intended_use),
        "Forbidden:",
        _list(manifest.forbidden_use),
        "## Data",
        (
            f"{data.name}: {data.rows} employees, of whom {data.leavers} left ({_percent(manifest.base_rate)})."
            f" Source: {data.source}. Licence: {data.licence}. SHA-256 of the numbers: `{data.sha256}`."
        ),
        "## Worth",
        (
            f"Measured in {evaluation.repeats} repetitions of {evaluation.folds}-fold stratified cross-validation, with"
            " 95 % intervals corrected for the overlap of the training folds (Nadeau and Bengio 2003). The last column"
            " is how much the model's ROC AUC exceeds that of the row, on the same folds."
        ),
        _table(
            ("recipe", "ROC AUC", "average precision", "log loss", "Brier", "ECE", "ROC AUC gained"),
            (_metrics(metrics) for metrics in (evaluation.model, *evaluation.baselines)),
        ),
        "## Reliability",
        f"![The share that left by the probability said]({figures}reliability.svg)",
        _table(
            ("employees", "mean probability", "share that left"),
            ((str(each.employees), f"{each.said:.3f}", _interval(each.left)) for each in manifest.reliability),
        ),
        "## Threshold",
        (
            f"An employee is classed as leaving from a probability of **{decision.threshold:.3f}** on. The threshold"
            f" was chosen within the training folds for `{decision.objective}`, and judged on the folds held out:"
        ),
        _list(
            (
                (
                    f"precision {_interval(decision.precision)}: of 10 employees flagged,"
                    f" {10 * (1 - decision.precision.estimate):.0f} stay;"
                ),
                (
                    f"recall {_interval(decision.recall)}: of 10 who leave,"
                    f" {10 * (1 - decision.recall.estimate):.0f} are missed;"
                ),
                f"flagged {_interval(decision.flagged)}: of 100 employees, {100 * decision.flagged.estimate:.0f}.",
            )
        ),
        "## Features",
        f"![How each feature moves the log-odds of leaving]({figures}effects.svg)",
        _table(
            ("feature", "name on the wire", "training range", "declared direction", "ROC AUC lost when shuffled"),
            (_feature(feature) for feature in manifest.features),
        ),
        "## Fairness",
        (
            "Employees held out of training, with bootstrap 95 % intervals. Gender and marital status are no inputs of"
            " the model; age is. Ratios compare a group with all other employees."
        ),
        *(part for trait in manifest.fairness for part in _fairness(trait)),
        "## Limits",
        _list(manifest.limits),
        "## Origin",
        _list(
            (
                *(f"{name} {version}" for name, version in manifest.libraries.items()),
                f"seed {manifest.recipe.seed}, parameters `{manifest.recipe.parameters}`",
                f"SHA-256 of the model's numbers: `{manifest.numbers_sha256}`",
            )
        ),
    ]
    return "\n\n".join(parts) + "\n"


def write_page(models_dir: Path, docs_dir: Path) -> None:
    """Write the card of the active version, with its figures, as a page of the documentation."""
    manifest, _ = read_manifest(models_dir, active_version(models_dir))
    (docs_dir / "model").mkdir(parents=True, exist_ok=True)
    (docs_dir / "model.md").write_text(render_card(manifest, figures="model/"), encoding="utf-8")
    for name, content in _figures(manifest).items():
        (docs_dir / "model" / name).write_bytes(content)


def _figures(manifest: Manifest) -> dict[str, bytes]:
    return {"effects.svg": draw_effects(manifest).encode(), "reliability.svg": draw_reliability(manifest).encode()}


def _fairness(trait: Fairness) -> Iterable[str]:
    yield f"### By {trait.trait}"
    yield _list(trait.findings)
    yield _table(
        (
            "group",
            "employees",
            "leavers",
            "flagged",
            "ratio",
            "true positive rate",
            "false positive rate",
            "calibration",
        ),
        (
            (
                rates.group,
                str(rates.employees),
                str(rates.leavers),
                _interval(rates.flagged),
                _interval(rates.flagged_ratio),
                _interval(rates.true_positive_rate),
                _interval(rates.false_positive_rate),
                _interval(rates.calibration),
            )
            for rates in trait.groups
        ),
    )
    if trait.too_small:
        yield f"Too small to say anything of: {', '.join(trait.too_small)}."


def _metrics(metrics: Metrics) -> tuple[str, ...]:
    figures = (metrics.roc_auc, metrics.average_precision, metrics.log_loss, metrics.brier, metrics.ece)
    gained = "" if metrics.roc_auc_gain is None else _interval(metrics.roc_auc_gain)
    return (metrics.name, *(_interval(figure) for figure in figures), gained)


def _feature(feature: Feature) -> tuple[str, ...]:
    directions = {1: "never lowers the risk", -1: "never raises the risk", 0: "free"}
    return (
        LABELS[Language.EN][feature.name],
        f"`{feature.name}`",
        f"{feature.low:g} to {feature.high:.10g}",
        directions[feature.monotone],
        "" if feature.importance is None else _interval(feature.importance),
    )


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _interval(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    # `python -m churn.training.card models docs`, run by `make train`.
    write_page(*(Path(argument) for argument in sys.argv[1:3]))
