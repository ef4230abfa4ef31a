"""Which of two versions deserves to answer?"""

from msgspec import Struct

from churn.domain.activation import Agreement
from churn.domain.manifest import Interval, Manifest
from churn.ports import ModelCatalogue, ShadowScores


class MetricComparison(Struct, frozen=True, kw_only=True):
    """One cross-validated figure of two versions."""

    name: str
    a: Interval
    b: Interval
    difference: float
    """The estimate for b minus that for a."""


class Comparison(Struct, frozen=True, kw_only=True):
    """Two versions side by side: as evaluated in training, and on the requests that both have scored."""

    a: str
    b: str
    same_data: bool
    """Whether both were evaluated on the same data; if not, the figures of one say little about the other."""
    metrics: tuple[MetricComparison, ...]
    agreement: Agreement


class CompareModels:
    """Puts two versions side by side."""

    def __init__(self, *, catalogue: ModelCatalogue, scores: ShadowScores) -> None:
        self._catalogue = catalogue
        self._scores = scores

    async def __call__(self, a: str, b: str) -> Comparison:
        """The comparison of versions `a` and `b`.

        Raises:
            UnknownModel: one of them is not there.
            StorageUnavailable: their agreement cannot be read.
        """
        first, second = await self._catalogue.manifest(a), await self._catalogue.manifest(b)
        return Comparison(
            a=a,
            b=b,
            same_data=first.data.sha256 == second.data.sha256,
            metrics=tuple(
                MetricComparison(name=name, a=ours, b=theirs, difference=theirs.estimate - ours.estimate)
                for (name, ours), theirs in zip(_figures(first).items(), _figures(second).values(), strict=True)
            ),
            agreement=await self._scores.agreement(a, b),
        )


def _figures(manifest: Manifest) -> dict[str, Interval]:
    metrics, decision = manifest.evaluation.model, manifest.decision
    return {
        "roc_auc": metrics.roc_auc,
        "average_precision": metrics.average_precision,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier,
        "ece": metrics.ece,
        "precision": decision.precision,
        "recall": decision.recall,
        "flagged": decision.flagged,
    }
