"""What every page of the console has in common."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response

from churn.domain.account import Account, Role
from churn.domain.language import Language
from churn.domain.session import form_token_of
from churn.http.console.words import TEXTS, Formats, Pair, choose
from churn.http.language import chosen_language
from churn.http.pages.assets import asset_url
from churn.http.problems import problem_of

#: `auth` is the token of the session.
ConsoleRequest = Request[Account, str, Any]

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["asset"] = asset_url

# Unlike a public page, one that acts with its visitor's rights: no other site may frame it.
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "base-uri 'none'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "img-src 'self'",
            "script-src 'self'",
            "style-src 'self'",
        )
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not `no-referrer`, under which a browser sends forms with the origin `null`.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
#: Address, name and role of what the header leads to.
_SECTIONS: Final[tuple[tuple[str, Pair, Role], ...]] = (
    ("/console", ("Une personne", "One person"), Role.ANALYST),
    ("/console/file", ("Un fichier", "A file"), Role.ANALYST),
    ("/console/history", ("Historique", "History"), Role.ANALYST),
    ("/console/monitoring", ("Surveillance", "Monitoring"), Role.ANALYST),
    ("/console/models", ("Modèles", "Models"), Role.ANALYST),
    ("/console/accounts", ("Comptes", "Accounts"), Role.ADMIN),
    ("/console/audit", ("Journal", "Audit"), Role.ADMIN),
)


def page(
    request: ConsoleRequest,
    template: str,
    texts: str,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> Response[str]:
    """The page `template` in the visitor's language.

    Args:
        request: that asks for it; signed in or not.
        template: name of a file in `templates`.
        texts: part of `texts.toml` that the template finds under `t`, beside what is on every page.
        status_code: of the response.
        headers: further ones.
        context: what else the template needs.
    """
    account: Account | None = request.scope.get("user")
    language = chosen_language(request)
    return fragment(
        request,
        template,
        texts,
        status_code=status_code,
        headers=headers,
        other_language=_other_language(request, language),
        sections=[
            (address, choose(language, name), address == _section_of(request.url.path))
            for address, name, role in _SECTIONS
            if account is not None and account.has(role)
        ],
        **context,
    )


def fragment(
    request: ConsoleRequest,
    template: str,
    texts: str,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> Response[str]:
    """The same without the frame: a part of a page, for a script to put in its place."""
    language = chosen_language(request)
    account: Account | None = request.scope.get("user")
    content = _TEMPLATES.get_template(template).render(
        # A dictionary would offer its methods before its texts, of which one is called `clear`.
        t=SimpleNamespace(**TEXTS[language]["frame"], **TEXTS[language][texts]),
        f=Formats(language),
        language=language,
        account=account,
        form_token=form_token_of(request.auth) if account is not None else "",
        **context,
    )
    return Response(
        content,
        media_type=MediaType.HTML,
        status_code=status_code,
        headers={**_HEADERS, "content-language": language.value, **(headers or {})},
    )


def _section_of(path: str) -> str:
    """The address of the section that the page at `path` is in; the longest that `path` begins with."""
    if path.startswith("/console/predictions/"):
        return "/console/history"
    if path.startswith("/console/account") and not path.startswith("/console/accounts"):
        return ""
    return max((address for address, _, _ in _SECTIONS if path.startswith(address)), key=len, default="")


def _other_language(request: ConsoleRequest, language: Language) -> tuple[str, str, str]:
    """Code and name of the language that is not `language`, and the address of this page in it."""
    other, name = (Language.EN, "English") if language is Language.FR else (Language.FR, "Français")
    # The page of a form that was refused has the form's address, and no query.
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
    return other.value, name, f"{request.url.path}?{urlencode([*query, ('lang', other.value)])}"


def problem_page(request: ConsoleRequest, error: Exception) -> Response[str]:
    """Litestar's handler for every exception of the console: the API's problem, as a page."""
    problem, headers = problem_of(request, error, chosen_language(request))
    return page(
        request,
        "problem.html",
        "problem",
        status_code=problem.status,
        headers={name: value for name, value in headers.items() if name == "retry-after"},
        problem=problem,
    )
