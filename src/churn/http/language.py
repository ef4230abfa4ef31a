"""Which language a client asks for."""

from functools import lru_cache
from typing import Any, Final

from litestar.connection import ASGIConnection

from churn.domain.language import Language
from churn.http.headers import header

#: Remembers the language that a visitor of the pages has chosen.
LANGUAGE_COOKIE: Final = "lang"


def chosen_language(connection: ASGIConnection[Any, Any, Any, Any]) -> Language:
    """The language of a page: the one its visitor has chosen, else the browser's."""
    chosen = connection.cookies.get(LANGUAGE_COOKIE, "")
    return Language(chosen) if chosen in Language else language_of(connection)


def language_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Language:
    """The language to answer `connection` in."""
    return preferred_language(header(connection.scope, b"accept-language"))


@lru_cache(maxsize=256)
def preferred_language(accept_language: str) -> Language:
    """The best of our languages under RFC 9110's `Accept-Language`; French when it names none of them."""
    best, best_quality = Language.FR, 0.0
    for item in accept_language[:200].split(","):
        tag, _, parameter = item.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if primary in Language and best_quality < quality <= 1:
            best, best_quality = Language(primary), quality
    return best
