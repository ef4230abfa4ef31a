"""`GET /audit`: who did what."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.params import QueryParameter
from msgspec import Meta

from churn.domain.account import Account, Role
from churn.domain.audit import AuditEntry
from churn.http.operation import TrueOperation
from churn.http.problems import problem_responses
from churn.http.query import each_parameter_once, null_parameters
from churn.ports import AuditTrail


class AuditItem(msgspec.Struct, frozen=True, kw_only=True):
    """Une entrée du journal d'audit. Elle nomme des comptes, jamais un employé."""

    number: Annotated[int, Meta(ge=1, description="Sans lacune depuis 1.")]
    at: datetime
    account: Annotated[str | None, Meta(description="Qui ; null : personne qui se soit identifié.")]
    action: str
    subject: Annotated[
        str | None, Meta(description="Le compte, la version ou la prédiction en cause ; null : voir `details`.")
    ]
    details: dict[str, str | int | bool]
    hash: Annotated[str, Meta(description="SHA-256 de l'entrée et de l'empreinte précédente, en hexadécimal.")]

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditItem":
        """`entry` on the wire."""
        return cls(**msgspec.structs.asdict(entry) | {"hash": entry.hash.hex()})


class AuditPage(msgspec.Struct, frozen=True):
    """Une page du journal d'audit, de la plus récente à la plus ancienne."""

    items: tuple[AuditItem, ...]
    next_cursor: Annotated[int | None, Meta(description="À passer en `cursor` pour la suite ; null à la fin.")]


class AuditController(Controller):
    """Look at who did what; nobody can change it."""

    path = "/audit"
    tags = ["Comptes"]
    security = [{"basic": []}]

    @get(
        guards=[each_parameter_once],
        opt={"role": Role.ADMIN},
        summary="Relire qui a fait quoi",
        description=(
            "Connexions refusées, comptes, versions du modèle, résultats, avis, exports, effacements et purges. Chaque "
            "entrée porte l'empreinte de la précédente : `churn audit verify` trouve celle qui a été changée ou ôtée."
        ),
        operation_class=TrueOperation,
        responses=problem_responses(401, 403, 422, 429, 503),
        response_description="Une page du journal",
    )
    async def find(
        self,
        request: Request[Account, object, Any],
        trail: NamedDependency[AuditTrail],
        cursor: Annotated[
            int | None, QueryParameter(ge=1, le=2**63 - 1, description="`next_cursor` de la page précédente.")
        ] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Taille de la page.")] = 100,
    ) -> AuditPage:
        """A page of the trail, newest first."""
        if wrong := null_parameters(request) & {"cursor", "limit"}:
            raise ValidationException(extra=[{"key": name} for name in sorted(wrong)])
        # One more than asked for tells whether there is a next page.
        found = await trail.page(before=cursor, limit=limit + 1)
        items = tuple(AuditItem.of(entry) for entry in found[:limit])
        return AuditPage(items, next_cursor=items[-1].number if len(found) > limit else None)
