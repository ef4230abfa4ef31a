"""Employees as the Open Inference Protocol sends them: named tensors, in JSON."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from enum import StrEnum
from itertools import chain, starmap
from math import prod
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.expectation import MISSING, Text
from churn.domain.language import Language
from churn.http.headers import header
from churn.http.json_body import (
    DUPLICATE,
    MALFORMED,
    MOST_ERRORS,
    UNKNOWN,
    FieldError,
    InvalidBody,
    JSONObject,
    StrictJSON,
    UnsupportedMediaType,
    closest,
    field_errors,
    is_json,
    load_json,
    pointer_to,
)
from churn.use_cases.turns import Turns

#: Rows read in one turn of the event loop, so that it takes about a millisecond.
_SLICE: Final = 256
_BINARY: Final[Text] = {
    Language.FR: "Les tenseurs binaires ne sont pas acceptés : envoyez-les en JSON (binary_data=False).",
    Language.EN: "Binary tensors are not accepted: send them as JSON (binary_data=False).",
}
_OTHER_SHAPE: Final[Text] = {
    Language.FR: "Ne suit pas le protocole ; voir le schéma dans /docs.",
    Language.EN: "Does not fit the protocol; see the schema in /docs.",
}
_UNNAMED: Final[Text] = {
    Language.FR: "N'est pas une variable du modèle, et `parameters.columns` ne dit pas ce qu'il contient.",
    Language.EN: "Is no feature of the model, and no `parameters.columns` says what it holds.",
}
_NOT_NAMES: Final[Text] = {
    Language.FR: "Doit être une chaîne de noms séparés par des virgules.",
    Language.EN: "Must be a string of names, separated by commas.",
}
_OTHER_WIDTH: Final[Text] = {
    Language.FR: "Doit avoir autant de colonnes que de noms.",
    Language.EN: "Must have as many columns as there are names.",
}
_OTHER_SIZE: Final[Text] = {
    Language.FR: "Doit avoir les éléments que dit `shape`.",
    Language.EN: "Must have the elements that `shape` says.",
}
_OTHER_LENGTH: Final[Text] = {
    Language.FR: "Doit avoir autant de lignes que le premier tenseur.",
    Language.EN: "Must have as many rows as the first tensor.",
}
#: The names that a column may have.
COLUMNS: Final = (*FEATURES, "employee_ref")
#: A tensor of numbers has no word for overtime.
_OVERTIME: Final[dict[object, object]] = {1: Overtime.YES.value, 0: Overtime.NO.value}

Parameters = Annotated[
    dict[str, Any], Meta(description="Paramètres du protocole ; ceux qui sont inconnus sont ignorés.")
]


class Datatype(StrEnum):
    """The kinds of elements that the protocol knows."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class InputTensor(msgspec.Struct, frozen=True, kw_only=True):
    """Une variable de n employés, ou plusieurs dont `parameters.columns` donne les noms."""

    name: Annotated[str, Meta(description="Le nom d'une variable, ou tout autre si `columns` est donné.")]
    shape: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        Meta(min_length=1, max_length=2, description="`[n]` ou `[n, 1]` ; `[n, k]` pour k colonnes."),
    ]
    datatype: Datatype
    data: Annotated[list[Any], Meta(description="Les éléments, ligne par ligne, à plat ou en listes imbriquées.")]
    parameters: Parameters | UnsetType = UNSET
    """`columns`: the names of the columns, separated by commas."""


class WantedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Un tenseur que la réponse doit avoir."""

    name: str
    parameters: Parameters | UnsetType = UNSET


class InferenceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Des employés, en tenseurs : un par variable, ou un dont `parameters.columns` nomme les colonnes."""

    inputs: Annotated[tuple[InputTensor, ...], Meta(min_length=1)]
    id: Annotated[str, Meta(description="Répété dans la réponse.")] | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET
    outputs: Annotated[tuple[WantedOutput, ...], Meta(description="Tous, si rien n'est demandé.")] | UnsetType = UNSET


class Column(NamedTuple):
    """The values of one name, one per employee, and where in the body each of them stands."""

    name: str
    values: Sequence[object]
    pointer: Callable[[int], str]


class TensorJSON(StrictJSON[InferenceRequest]):
    """Reads the body of an inference request. Clients of the protocol need not say that it is JSON."""

    @classmethod
    def create_openapi_schema(cls, field_definition: Any, handler_id: str, schema_creator: Any) -> Any:  # noqa: ANN401 - as in the base class
        """The schema, open to members that other servers know."""
        del handler_id
        return schema_creator.for_field_definition(field_definition)

    def decode_bytes(self, value: bytes) -> InferenceRequest:
        """The request.

        Raises:
            UnsupportedMediaType: it claims to be something else than JSON.
            InvalidBody: it is not JSON, or no inference request.
        """
        scope = self.asgi_connection.scope
        content_type = header(scope, b"content-type")
        if content_type and not is_json(content_type):
            raise UnsupportedMediaType
        if header(scope, b"inference-header-content-length"):
            raise InvalidBody([FieldError("", "binary", _BINARY)])
        return _decode(value)


_decoder: Final = msgspec.json.Decoder(InferenceRequest)
_PATH: Final = re.compile(r" - at `\$([^`]*)`$")
_MEMBER: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
_ABSENT: Final = re.compile(r"missing required field `(\w+)`")


def _decode(body: bytes) -> InferenceRequest:
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        pointer = "".join(f"/{name or index}" for name, index in _MEMBER.findall(path[1] if path else ""))
        if absent := _ABSENT.search(str(error)):
            raise InvalidBody([FieldError(f"{pointer}/{absent[1]}", "missing", MISSING)]) from None
        raise InvalidBody([FieldError(pointer, "invalid", _OTHER_SHAPE)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidBody([FieldError("", "malformed", MALFORMED)]) from None
    # As in `decode_strictly`: with as many colons as members that were read, no key came twice.
    if body.count(b":") != _members(request):
        _refuse_repeated(body)
    return request


def _members(request: InferenceRequest) -> int:
    objects: tuple[InferenceRequest | InputTensor | WantedOutput, ...] = (
        request,
        *request.inputs,
        *(request.outputs or ()),
    )
    filled = sum(getattr(item, name) is not UNSET for item in objects for name in item.__struct_fields__)
    return filled + sum(len(item.parameters or ()) for item in objects)


def _refuse_repeated(body: bytes) -> None:
    errors: list[FieldError] = []

    def visit(value: object, pointer: str) -> None:
        if isinstance(value, JSONObject):
            errors.extend(FieldError(pointer + pointer_to(key), "duplicate", DUPLICATE) for key in value.repeated)
            for key, item in value.items():
                visit(item, pointer + pointer_to(key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, JSONObject | list):
                    visit(item, f"{pointer}/{index}")

    try:
        visit(load_json(body), "")
    except RecursionError:
        raise InvalidBody([FieldError("", "malformed", MALFORMED)]) from None
    if errors:
        raise InvalidBody(errors[:MOST_ERRORS])


def columns_of(request: InferenceRequest) -> list[Column]:
    """The columns of all tensors, as long as each other.

    Raises:
        InvalidBody: with what is wrong with each tensor, or an element of it.
    """
    errors: list[FieldError] = []
    columns: list[Column] = []
    for position, tensor in enumerate(request.inputs):
        pointer = f"/inputs/{position}"
        try:
            names = _names(tensor, request.parameters or {}, pointer)
            columns += _columns(tensor, names, pointer)
        except InvalidBody as error:
            errors += error.errors
            continue
        if len(columns[-1].values) != len(columns[0].values):
            errors.append(FieldError(f"{pointer}/shape", "invalid", _OTHER_LENGTH))
        earlier = {column.name for column in columns[: -len(names)]}
        if earlier.intersection(names) or len({*names}) < len(names):
            errors.append(FieldError(pointer, "duplicate", DUPLICATE))
    if not errors:
        present = {column.name for column in columns}
        errors += [FieldError("/inputs", "missing", _absent(name)) for name in FEATURES if name not in present]
    if errors:
        raise InvalidBody(errors[:MOST_ERRORS])
    return columns


async def employees_of(columns: Sequence[Column], turns: Turns) -> AsyncIterator[Sequence[Employee]]:
    """The employees, in blocks.

    Raises:
        InvalidBody: at the end, with every value that no employee can have, at most 50.
    """
    names = [column.name for column in columns]
    errors: list[FieldError] = []
    for start in range(0, len(columns[0].values), _SLICE):
        block: list[Employee] = []
        async with turns:
            rows = zip(*(column.values[start : start + _SLICE] for column in columns), strict=True)
            for number, row in enumerate(rows, start):
                # No tensor can leave an element out: an empty text is no pseudonym.
                employee = {name: value for name, value in zip(names, row, strict=True) if value != ""}
                try:
                    block.append(msgspec.convert(employee, Employee))
                except msgspec.ValidationError:
                    errors += _errors_of(employee, columns, number)
                    if len(errors) >= MOST_ERRORS:
                        break
        if len(errors) >= MOST_ERRORS:
            break
        if not errors:
            yield block
    if errors:
        raise InvalidBody(errors[:MOST_ERRORS])


def _errors_of(employee: dict[str, object], columns: Sequence[Column], number: int) -> list[FieldError]:
    found = {error.pointer: error for error in field_errors(employee, Employee)}
    return [
        msgspec.structs.replace(found[pointer_to(column.name)], pointer=column.pointer(number))
        for column in columns
        if pointer_to(column.name) in found
    ]


def _names(tensor: InputTensor, shared: dict[str, Any], pointer: str) -> list[str]:
    own = tensor.parameters or {}
    listed = own.get("columns", None if tensor.name in COLUMNS else shared.get("columns"))
    if listed is None:
        if tensor.name not in COLUMNS:
            raise InvalidBody([FieldError(f"{pointer}/name", "unknown", _UNNAMED, closest(tensor.name, COLUMNS))])
        return [tensor.name]
    where = f"{pointer}/parameters/columns" if "columns" in own else "/parameters/columns"
    if not isinstance(listed, str):
        raise InvalidBody([FieldError(where, "invalid", _NOT_NAMES)])
    names = [name.strip() for name in listed.split(",")]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise InvalidBody([FieldError(where, "unknown", UNKNOWN, closest(name, COLUMNS)) for name in unknown])
    return names


def _columns(tensor: InputTensor, names: Sequence[str], pointer: str) -> list[Column]:
    width = tensor.shape[1] if len(tensor.shape) > 1 else 1
    if width != len(names):
        raise InvalidBody([FieldError(f"{pointer}/shape", "invalid", _OTHER_WIDTH)])
    nested = len(tensor.shape) > 1 and all(isinstance(item, list) and len(item) == width for item in tensor.data)
    data = list(chain.from_iterable(tensor.data)) if nested else tensor.data
    if len(data) != prod(tensor.shape):
        raise InvalidBody([FieldError(f"{pointer}/data", "invalid", _OTHER_SIZE)])

    def element(index: int) -> str:
        place = "{}/{}".format(*divmod(index, width)) if nested else str(index)
        return f"{pointer}/data/{place}"

    values = _elements(data, tensor.datatype, element)

    def column(number: int, name: str) -> Column:
        return Column(name, _as_field(values[number::width], name), lambda row: element(row * width + number))

    return list(starmap(column, enumerate(names)))


def _elements(data: list[Any], datatype: Datatype, pointer: Callable[[int], str]) -> list[object]:
    """`data` as elements of `datatype`, whole numbers being of one kind however they were written."""
    kind, low, high = _KINDS[datatype]
    if kind in {int, bool}:
        # Some clients write every number with a point, and true as 1.0.
        data = [_as_whole(value, kind) for value in data]
    try:
        values: list[Any] = msgspec.convert(data, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        wrong = [index for index, value in enumerate(data) if not _is_a(value, kind)]
    else:
        if low is None or not values or (low <= min(values) and max(values) <= high):
            return values
        wrong = [index for index, value in enumerate(values) if not low <= value <= high]
    raise InvalidBody([FieldError(pointer(index), "invalid", _not_a(datatype)) for index in wrong[:MOST_ERRORS]])


def _as_whole(value: object, kind: type = int) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value == 1 if kind is bool and type(value) is int and value in {0, 1} else value


def _is_a(value: object, kind: type) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def _as_field(values: Sequence[object], name: str) -> Sequence[object]:
    if name == "heures_supp":
        return [_OVERTIME.get(value, value) for value in values]
    if name in _WHOLE:
        return [_as_whole(value) for value in values]
    return values


def _absent(name: str) -> Text:
    return {
        Language.FR: f"Il manque le tenseur ou la colonne « {name} ».",
        Language.EN: f"The tensor or the column {name} is missing.",
    }


def _not_a(datatype: Datatype) -> Text:
    return {Language.FR: f"N'est pas un élément {datatype}.", Language.EN: f"Is not an element {datatype}."}


#: Features that are whole numbers, also in a tensor of floats.
_WHOLE: Final = frozenset(field.encode_name for field in msgspec.structs.fields(Employee)) - {
    "revenu_mensuel",
    "distance_domicile_travail",
    "exp_totale",
    "heures_supp",
    "employee_ref",
}


#: Of each datatype: what Python makes of an element, and the bounds of an integer.
_KINDS: Final[dict[Datatype, tuple[type, Any, Any]]] = {
    Datatype.BOOL: (bool, None, None),
    **{Datatype(f"UINT{bits}"): (int, 0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{Datatype(f"INT{bits}"): (int, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{Datatype(f"FP{bits}"): (float, None, None) for bits in (16, 32, 64)},
    Datatype.BYTES: (str, None, None),
}
