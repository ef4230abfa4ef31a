"""Every error as an RFC 9457 problem, in French or English, and never with a value of the request in it."""

import math
import re
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, NotAuthorizedException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap

from churn.domain.errors import (
    ActivationConflict,
    AlreadyActive,
    AnswerErased,
    HistoryQueueFull,
    InvalidCredentials,
    InvalidUsername,
    KeyReused,
    LastAdmin,
    ModelRefused,
    NothingToUndo,
    TooManyAttempts,
    Unavailable,
    UnknownAccount,
    UnknownEmployee,
    UnknownModel,
    UnknownPrediction,
    UsernameTaken,
    WeakPassword,
)
from churn.domain.expectation import Text
from churn.domain.language import Language
from churn.http.connection import JSONAnswer
from churn.http.json_body import MALFORMED, FieldError, InvalidBody, TooLarge
from churn.http.language import language_of
from churn.http.observability import describe_failure
from churn.wire import Problem, ProblemError

MEDIA_TYPE: Final = "application/problem+json"
CHALLENGE: Final = 'Basic realm="churn", charset="UTF-8"'

log = structlog.get_logger()


class _Kind(msgspec.Struct, frozen=True):
    slug: str
    fr: tuple[str, str]
    en: tuple[str, str]


_KINDS: Final[dict[int, _Kind]] = {
    401: _Kind(
        "unauthenticated",
        ("Authentification requise", "Identifiez-vous par l'authentification HTTP Basic."),
        ("Authentication required", "Sign in with HTTP Basic authentication."),
    ),
    403: _Kind(
        "forbidden",
        ("Accès refusé", "Ce compte n'a pas le rôle requis."),
        ("Not allowed", "This account does not have the role that this takes."),
    ),
    404: _Kind(
        "not-found",
        ("Introuvable", "Il n'y a rien à cette adresse."),
        ("Not found", "There is nothing at this address."),
    ),
    405: _Kind(
        "method-not-allowed",
        ("Méthode non permise", "Cette adresse ne connaît pas cette méthode."),
        ("Method not allowed", "This address does not know this method."),
    ),
    409: _Kind(
        "conflict",
        ("Conflit", "La demande contredit ce qui existe déjà."),
        ("Conflict", "The request contradicts what exists already."),
    ),
    413: _Kind(
        "too-large",
        ("Corps trop volumineux", "Le corps de la requête dépasse la taille permise."),
        ("Body too large", "The request body is larger than allowed."),
    ),
    415: _Kind(
        "unsupported-media-type",
        ("Format non pris en charge", "Le corps n'est pas dans un format accepté ici (UTF-8) ; voir /docs."),
        ("Unsupported media type", "The body is not in a format that is accepted here (UTF-8); see /docs."),
    ),
    422: _Kind(
        "invalid-request",
        ("Requête invalide", "Un ou plusieurs champs sont invalides."),
        ("Invalid request", "One or more fields are invalid."),
    ),
    429: _Kind(
        "too-many-attempts",
        ("Trop de tentatives", "Trop d'échecs d'authentification ; réessayez plus tard."),
        ("Too many attempts", "Too many failed sign-ins; try again later."),
    ),
    500: _Kind(
        "internal",
        ("Erreur interne", "La demande a échoué ; l'incident est journalisé sous request_id."),
        ("Internal error", "The request failed; the log has it under request_id."),
    ),
    503: _Kind(
        "unavailable",
        ("Service indisponible", "Le service ne peut pas répondre pour l'instant ; réessayez."),
        ("Service unavailable", "The service cannot answer for now; try again."),
    ),
}

_STATUS: Final[dict[type[Exception], int]] = {
    InvalidBody: 422,
    TooLarge: 413,
    ValidationException: 422,
    InvalidUsername: 422,
    WeakPassword: 422,
    InvalidCredentials: 401,
    NotAuthorizedException: 401,
    UnknownAccount: 404,
    UnknownEmployee: 404,
    UnknownPrediction: 404,
    UsernameTaken: 409,
    LastAdmin: 409,
    UnknownModel: 404,
    ModelRefused: 409,
    AlreadyActive: 409,
    NothingToUndo: 409,
    ActivationConflict: 409,
    KeyReused: 422,
    AnswerErased: 409,
    TooManyAttempts: 429,
    Unavailable: 503,
}


def _status_of(error: Exception) -> int:
    for ancestor in type(error).__mro__:
        if ancestor in _STATUS:
            return _STATUS[ancestor]
    if isinstance(error, HTTPException):
        # Litestar says 400 for what this contract calls 422: a request that cannot be understood.
        return 422 if error.status_code == 400 else error.status_code  # noqa: PLR2004
    return 500


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Litestar's handler for every exception."""
    problem, headers = problem_of(request, error, language_of(request))
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def problem_answer(request: Request[Any, Any, Any], error: Exception) -> JSONAnswer:
    """The same answer without what Litestar's `Response` prepares, which takes longer than a prediction."""
    problem, headers = problem_of(request, error, language_of(request))
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return JSONAnswer(problem, status=problem.status, headers=[(b"content-type", MEDIA_TYPE.encode()), *encoded])


def problem_of(request: Request[Any, Any, Any], error: Exception, language: Language) -> tuple[Problem, dict[str, str]]:
    """What to say of `error`, and the headers to say it with; it is logged if the service is at fault."""
    status = _status_of(error)
    if status not in _KINDS:
        status = 500
    request_id = request.scope["state"].get("request_id", "")
    # A full queue is the history's to log: once, and not for everyone whom it refuses.
    if status >= 500 and not isinstance(error, HistoryQueueFull):  # noqa: PLR2004
        _log_failure(error, status, request_id)
    kind = _KINDS[status]
    title, detail = kind.fr if language is Language.FR else kind.en
    problem = Problem(
        type=f"urn:churn:problem:{kind.slug}",
        title=title,
        status=status,
        detail=detail,
        instance=request.scope["path"].encode("utf-8", "replace").decode()[:512],
        request_id=request_id,
        errors=_errors_of(error, language),
    )
    return problem, _headers_of(request, error, status)


def _log_failure(error: Exception, status: int, request_id: str) -> None:
    causes = describe_failure(error)
    # An expected outage is one line, not a page per request.
    if status == 503:  # noqa: PLR2004
        log.warning("unavailable", request_id=request_id, reason=str(error), cause=causes[-1]["type"])
    else:
        log.error("request failed", request_id=request_id, causes=causes)


def _errors_of(error: Exception, language: Language) -> tuple[ProblemError, ...]:
    if isinstance(error, InvalidBody):
        return in_words(error.errors, language)
    if isinstance(error, TooLarge):
        return (ProblemError(detail=error.detail[language], code=error.code),)
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        return tuple(_invalid(item, language) for item in error.extra if isinstance(item, dict))
    if clash := _CLASHES.get(type(error)):
        code, text = clash
        # Why a model is refused is for whoever runs the service, in the words of the log.
        reason = f" {error}" if isinstance(error, ModelRefused) else ""
        return (ProblemError(detail=text[language] + reason, code=code),)
    return ()


def in_words(errors: Sequence[FieldError], language: Language) -> tuple[ProblemError, ...]:
    """`errors` as they are told to a client."""
    return tuple(
        ProblemError(detail=item.detail[language], code=item.code, pointer=item.pointer, suggestion=item.suggestion)
        for item in errors
    )


def _invalid(item: dict[str, object], language: Language) -> ProblemError:
    if item.get("source") == "body":
        # Litestar reports only that there is none: `StrictJSON` reads every other.
        return ProblemError(detail=MALFORMED[language], code="malformed", pointer="")
    code = str(item.get("code", "invalid"))
    return ProblemError(detail=_PARAMETER[code][language], code=code, parameter=str(item.get("key", "")))


_CLASHES: Final[dict[type[Exception], tuple[str, Text]]] = {
    UsernameTaken: (
        "taken",
        {Language.FR: "Un compte porte déjà ce nom.", Language.EN: "An account of that name exists already."},
    ),
    LastAdmin: (
        "last-admin",
        {
            Language.FR: "C'est le dernier administrateur actif : plus personne ne pourrait gérer les comptes.",
            Language.EN: "This is the last enabled admin: nobody would be left to manage accounts.",
        },
    ),
    ModelRefused: (
        "refused",
        {
            Language.FR: "Ce modèle ne peut pas être chargé ici :",
            Language.EN: "This model cannot be loaded here:",
        },
    ),
    KeyReused: (
        "key-reused",
        {
            Language.FR: "Cette Idempotency-Key a déjà servi pour une autre demande.",
            Language.EN: "This Idempotency-Key was used before, for another request.",
        },
    ),
    AnswerErased: (
        "answer-erased",
        {
            Language.FR: "La demande a déjà été satisfaite sous cette Idempotency-Key, et la réponse effacée depuis.",
            Language.EN: "The request was answered before under this Idempotency-Key, and the answer erased since.",
        },
    ),
    AlreadyActive: (
        "already-active",
        {Language.FR: "Cette version est déjà active.", Language.EN: "This version is active already."},
    ),
    NothingToUndo: (
        "nothing-to-undo",
        {
            Language.FR: "Il n'y a pas de version antérieure, ou pas de version dans l'ombre.",
            Language.EN: "There is no earlier version, or no shadow version.",
        },
    ),
    ActivationConflict: (
        "changed-meanwhile",
        {
            Language.FR: "Quelqu'un a changé entre-temps de version active ou d'ombre ; regardez, puis réessayez.",
            Language.EN: "Somebody has changed the active or shadow version meanwhile; look, and try again.",
        },
    ),
}
_PARAMETER: Final[dict[str, Text]] = {
    "invalid": {
        Language.FR: "Valeur non permise ; voir le schéma du paramètre dans /docs.",
        Language.EN: "This value is not allowed; see the parameter's schema in /docs.",
    },
    "duplicate": {
        Language.FR: "Paramètre présent plusieurs fois.",
        Language.EN: "This parameter is present more than once.",
    },
}


def _headers_of(request: Request[Any, Any, Any], error: Exception, status: int) -> dict[str, str]:
    headers = {"cache-control": "no-store", "vary": "Accept-Language"}
    if status == 401:  # noqa: PLR2004
        headers["www-authenticate"] = CHALLENGE
    if isinstance(error, TooManyAttempts | Unavailable) and status in (429, 503):
        # Whole seconds, and never 0, which would ask for a retry at once.
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if status == 405:  # noqa: PLR2004
        headers["allow"] = ", ".join(sorted(_allowed_methods(request)))
    return headers


def _allowed_methods(request: Request[Any, Any, Any]) -> set[str]:
    """RFC 9110 asks a 405 to name them, and Litestar does not."""
    path = request.scope["path"].rstrip("/") or "/"
    matching = [
        route
        for route in request.app.routes
        if re.fullmatch(re.sub(r"\\\{[^}]*\}", "[^/]+", re.escape(route.path_format)), path)
    ]
    # A path that is spelled out goes before a template.
    exact = [route for route in matching if route.path_format == path]
    return {method for route in exact or matching for method in getattr(route, "methods", ())}


EXCEPTION_HANDLERS: Final[ExceptionHandlersMap] = {Exception: problem_response, HTTPException: problem_response}


def problem_responses(*statuses: int, shape: type[Problem] = Problem) -> dict[int, ResponseSpec]:
    """The OpenAPI responses of a handler that can answer with these problems."""
    return {
        status: ResponseSpec(
            data_container=shape,
            description=_KINDS[status].fr[0],
            media_type=cast("MediaType", MEDIA_TYPE),  # any media type works; Litestar's type is narrower
            generate_examples=False,
        )
        for status in statuses
    }
