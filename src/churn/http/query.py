"""What Litestar leaves unsaid of a query: a parameter that is given twice, and one whose value is the word "null"."""

from collections import Counter
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ValidationException
from litestar.handlers.base import BaseRouteHandler


def each_parameter_once(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """A guard: one of two values would count, and which one would depend on who reads them.

    Raises:
        ValidationException: names every parameter that is given more than once.
    """
    times = Counter(name for name, _ in connection.query_params.multi_items())
    if repeated := [name for name, count in sorted(times.items()) if count > 1]:
        raise ValidationException(extra=[{"key": name, "code": "duplicate"} for name in repeated])


def null_parameters(request: Request[Any, Any, Any]) -> set[str]:
    """The parameters whose value is the word "null", which Litestar takes for no value at all.

    An account or a version may have that name; a number or a moment may not.
    """
    return {name for name, text in request.query_params.multi_items() if text == "null"}
