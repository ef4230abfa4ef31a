"""One header of a request."""

from typing import Any


def header(scope: Any, name: bytes) -> str:  # noqa: ANN401 - any of Litestar's scopes
    """The first value of the header `name`, which is in lower case; empty when there is none.

    Litestar's `headers` builds a mapping of them all, for the price of everything else that a request reads.
    """
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""
