"""What Litestar's OpenAPI document gets wrong about our operations, put right."""

from dataclasses import dataclass
from typing import Any, Final

from litestar import Litestar
from litestar.openapi.spec import OpenAPIHeader, OpenAPIResponse, OpenAPIType, Operation, Parameter, Schema
from litestar.routes import HTTPRoute

_RETRY_AFTER: Final = OpenAPIHeader(
    schema=Schema(type=OpenAPIType.INTEGER, minimum=1), description="Secondes à attendre.", required=True
)
_HEADERS: Final = {
    "401": {
        "WWW-Authenticate": OpenAPIHeader(
            schema=Schema(type=OpenAPIType.STRING), description="Le mode d'authentification.", required=True
        )
    },
    "429": {"Retry-After": _RETRY_AFTER},
    "503": {"Retry-After": _RETRY_AFTER},
}


@dataclass
class TrueOperation(Operation):
    """An operation as it really answers; for a handler's `operation_class`."""

    def __post_init__(self) -> None:
        responses = self.responses or {}
        # Litestar's own answer to what is invalid, in place of which we give a 422.
        responses.pop("400", None)
        for status, response in responses.items():
            if isinstance(response, OpenAPIResponse) and status in _HEADERS:
                response.headers = dict(_HEADERS[status])
        for parameter in self.parameters or ():
            if isinstance(parameter, Parameter) and isinstance(parameter.schema, Schema):
                parameter.schema = _without_null(parameter.schema)


def _without_null(schema: Schema) -> Schema:
    """`schema` of a parameter, which is either absent or has a value: in a query, null would be a word."""
    kinds = [kind for kind in schema.one_of or () if not (isinstance(kind, Schema) and kind.type is OpenAPIType.NULL)]
    if len(kinds) == 1 and isinstance(kinds[0], Schema):
        schema.type, schema.format, schema.one_of = kinds[0].type, kinds[0].format, None
    return schema


def name_all_methods(app: Litestar) -> None:
    """Let the answer to `OPTIONS` name every method of its path: Litestar's names those of one handler only."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            stale, parameters = route.route_handler_map["OPTIONS"]
            handler = route.create_options_handler(route.path)
            handler.owner = stale.owner
            handler.on_registration(app)
            route.route_handler_map["OPTIONS"] = (handler, parameters)


def true_document(app: Litestar) -> dict[str, Any]:
    """The OpenAPI document of `app`, in which a value may be of several kinds: 0 is an integer and a number."""
    return {key: _any_of(value) for key, value in app.openapi_schema.to_schema().items()}


def _any_of(schema: object) -> object:
    if isinstance(schema, list):
        return [_any_of(item) for item in schema]
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in schema.items()}
    return schema
