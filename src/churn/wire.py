"""What goes over the wire: the bodies and answers that the service and `churn.client` have in common.

Their docstrings are French because the OpenAPI document shows them.
"""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from churn.domain.activation import REASON_PATTERN
from churn.domain.employee import Employee, EmployeeRef
from churn.domain.manifest import Interval
from churn.domain.outcome import Outcome
from churn.domain.prediction import Risk
from churn.domain.review import Decision, Review
from churn.use_cases.serving_model import Serving


# `gc=False`, here and in the domain: no cycle can lead through what is frozen and holds only values, and the collector
# would otherwise spend more time on ten thousand answers than it takes to make them.
class Contribution(msgspec.Struct, frozen=True, gc=False):
    """Ce qu'une variable ajoute au risque, en log-cotes."""

    feature: str
    value: float | str
    log_odds: float
    sentence: Annotated[str, Meta(description="La même chose en mots, en français ou en anglais (Accept-Language).")]


class Caution(msgspec.Struct, frozen=True, gc=False):
    """Ce qui rend la prédiction moins sûre."""

    field: str
    code: str
    detail: str


class PredictionAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Une prédiction : une aide à la décision, jamais une décision."""

    prediction: Annotated[int, Meta(ge=0, le=1, description="1 : départ probable ; 0 : non.")]
    probability: Annotated[float, Meta(ge=0, le=1, description="Probabilité de départ.")]
    message: Annotated[str, Meta(description="Le risque en mots, en français ou en anglais (Accept-Language).")]
    id: UUID
    threshold: Annotated[float, Meta(description="Probabilité à partir de laquelle `prediction` vaut 1.")]
    risk: Risk
    model_version: str
    intercept: Annotated[
        float | None, Meta(description="Log-cotes de départ : avec les contributions, leur somme est le logit.")
    ]
    contributions: Annotated[
        tuple[Contribution, ...] | None,
        Meta(description="De la plus forte à la plus faible ; null si le modèle ne s'explique pas."),
    ]
    warnings: tuple[Caution, ...]


class RememberedPrediction(PredictionAnswer, frozen=True, kw_only=True, gc=False):
    """Une prédiction de l'historique : la réponse, qui l'a demandée, quand, et pour quelles valeurs."""

    created_at: datetime
    account: str
    employee: Employee
    run_id: Annotated[UUID | None, Meta(description="Le lot de `churn score --save` dont elle fait partie.")] = None


class FollowedPrediction(RememberedPrediction, frozen=True, kw_only=True):
    """Une prédiction de l'historique, et ce qui l'a suivie."""

    outcomes: Annotated[
        tuple[Outcome, ...], Meta(description="Ce qu'il est advenu, du plus récent, qui compte, au plus ancien.")
    ]
    reviews: Annotated[
        tuple[Review, ...], Meta(description="Ce que des personnes en concluent, de la plus récente, qui compte.")
    ]


class PredictionPage(msgspec.Struct, frozen=True):
    """Une page de l'historique, de la plus récente à la plus ancienne."""

    items: tuple[RememberedPrediction, ...]
    next_cursor: Annotated[UUID | None, Meta(description="À passer en `cursor` pour la suite ; null à la fin.")]


class ProblemError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Un champ ou un paramètre en cause."""

    detail: str
    code: str
    pointer: str | None = None
    """JSON Pointer (RFC 6901) dans le corps."""
    parameter: str | None = None
    """Nom du paramètre de chemin ou de requête."""
    suggestion: str | None = None
    """Le champ connu le plus proche."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problème au sens de la RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    instance: str | None = None
    errors: tuple[ProblemError, ...] = ()


class RejectedRow(msgspec.Struct, frozen=True):
    """Une ligne qui n'a pas été évaluée, et pourquoi ; les autres l'ont été."""

    row: int
    """Rang de la ligne, à partir de 0."""
    errors: tuple[ProblemError, ...]
    """Chaque `pointer` (RFC 6901) part de la ligne."""


Left = Annotated[bool, Meta(title="Parti", description="Vrai si la personne est partie.", examples=[True])]
ObservedOn = Annotated[
    date,
    Meta(
        title="Observé le",
        description=(
            "Le jour du départ, ou un jour où la personne était encore là (UTC) : ni avant la prédiction, ni dans "
            "l'avenir."
        ),
        examples=["2026-11-02"],
    ),
]


class NewOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ce qu'il est advenu de la personne."""

    left: Left
    observed_on: ObservedOn


class OutcomeReport(NewOutcome, frozen=True, forbid_unknown_fields=True):
    """Ce qu'il est advenu de la personne d'une prédiction, ou d'un employé ; nommer l'un des deux."""

    prediction_id: Annotated[UUID, Meta(title="Prédiction", description="`id` de la prédiction.")] | UnsetType = UNSET
    employee_ref: EmployeeRef | UnsetType = UNSET


class NewReview(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ce qu'une personne conclut d'une prédiction."""

    decision: Annotated[
        Decision,
        Meta(
            title="Décision",
            description=(
                "`accepted` : la prédiction s'accorde avec ce que l'on sait ; `overridden` : on sait mieux, elle n'est "
                "pas retenue ; `dismissed` : elle est restée sans usage."
            ),
        ),
    ]
    reason: Annotated[
        str,
        Meta(
            pattern=REASON_PATTERN,
            title="Raison",
            description="1 à 500 caractères, sans caractère de contrôle.",
            examples=["Entretien du 3 novembre : un changement de poste est convenu."],
        ),
    ]


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Une version du modèle, en bref."""

    version: str
    created_at: datetime
    role: Annotated[
        Literal["active", "shadow"] | None,
        Meta(description="`active` : elle répond ; `shadow` : elle évalue les mêmes demandes sans répondre."),
    ]
    data: Annotated[str, Meta(description="Les données d'apprentissage.")]
    employees: int
    threshold: float
    roc_auc: Interval
    average_precision: Interval
    log_loss: Interval
    ece: Annotated[Interval, Meta(description="Erreur de calibration attendue.")]


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Les versions du modèle, de la plus ancienne à la plus récente."""

    items: tuple[ModelSummary, ...]
    serving: Annotated[
        Serving,
        Meta(description="Ce dont se sert le processus qui répond ; `lagging` : il a refusé ce qui a été décidé."),
    ]
