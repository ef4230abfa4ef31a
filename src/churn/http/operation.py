"""What Litestar's OpenAPI document gets wrong about our operations, put right."""

from dataclasses import dataclass
from typing import Final

from litestar.openapi.spec import OpenAPIHeader, OpenAPIResponse, OpenAPIType, Operation, Parameter, Schema

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
