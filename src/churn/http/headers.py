"""The headers of a request, by name."""

from typing import Any, Final

#: Where a scope keeps its headers by name, once somebody has asked for one.
_BY_NAME: Final = "churn.headers"


def header(scope: Any, name: bytes) -> str:  # noqa: ANN401 - any of Litestar's scopes
    """The first value of the header `name`, which is in lower case; empty when there is none."""
    return str(_by_name(scope).get(name, b""), "latin-1")


def has_header(scope: Any, name: bytes) -> bool:  # noqa: ANN401 - any of Litestar's scopes
    """Whether there is a header `name`, which is in lower case."""
    return name in _by_name(scope)


def ignore_header(scope: Any, name: bytes) -> None:  # noqa: ANN401 - any of Litestar's scopes
    """From now on, be as if there were no header `name`, which is in lower case."""
    scope["headers"] = [(key, value) for key, value in scope["headers"] if key != name]
    scope.pop(_BY_NAME, None)


def _by_name(scope: Any) -> dict[bytes, bytes]:  # noqa: ANN401 - any of Litestar's scopes
    # Litestar's own mapping takes as long to build as everything else that a request reads.
    by_name: dict[bytes, bytes] | None = scope.get(_BY_NAME)
    if by_name is None:
        # The last one of a name stays, so the first has to come last.
        by_name = scope[_BY_NAME] = dict(reversed(scope["headers"]))
    return by_name
