"""The model card: the manifest, in words."""

from churn.domain.manifest import Interval, Manifest, Metrics


def render_card(manifest: Manifest) -> str:
    """The card in Markdown."""
    evaluation, decision, data = manifest.evaluation, manifest.decision, manifest.data
    lines = [
        f"# Model {manifest.version}",
        "",
        f"Trained {manifest.created_at:%Y-%m-%d} on {data.name}: {data.rows} employees, of whom {data.leavers} left.",
        f"Source: {data.source}. Licence: {data.licence}.",
        "",
        "## Worth",
        "",
        f"{evaluation.repeats} × {evaluation.folds}-fold stratified cross-validation, with 95 % intervals.",
        "",
        "| recipe | ROC AUC | average precision | log loss | Brier | ECE |",
        "|---|---|---|---|---|---|",
        *(_row(metrics) for metrics in (evaluation.model, *evaluation.baselines)),
        "",
        "## Threshold",
        "",
        f"Classed as leaving from a probability of {decision.threshold:.3f} on, chosen for `{decision.objective}`.",
        f"Precision {_interval(decision.precision)}, recall {_interval(decision.recall)},",
        f"flagged {_interval(decision.flagged)}.",
        "",
    ]
    return "\n".join(lines)


def _row(metrics: Metrics) -> str:
    figures = (metrics.roc_auc, metrics.average_precision, metrics.log_loss, metrics.brier, metrics.ece)
    return f"| {metrics.name} | {' | '.join(_interval(figure) for figure in figures)} |"


def _interval(interval: Interval) -> str:
    return f"{interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"
