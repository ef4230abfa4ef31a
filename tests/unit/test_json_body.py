"""JSON bodies: decoded strictly, or refused with every error at once and no value."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import LEAVER, employee

from churn.domain.employee import Employee
from churn.domain.language import Language
from churn.http.json_body import InvalidBody, decode_strictly


def errors_of(body: bytes | dict[str, Any]) -> dict[str, str]:
    """The code of each error, by its pointer."""
    with pytest.raises(InvalidBody) as caught:
        decode_strictly(body if isinstance(body, bytes) else json.dumps(body).encode(), Employee)
    return {error.pointer: error.code for error in caught.value.errors}


def without_last_brace() -> bytes:
    return json.dumps(LEAVER).encode()[:-1]


def test_decodes_what_is_right() -> None:
    """A body that keeps the schema becomes the struct, whatever its white space and the order of its keys."""
    body = json.dumps(dict(reversed(LEAVER.items())), indent=3).encode()
    decoded = decode_strictly(body, Employee)
    assert (decoded.age, decoded.monthly_income, decoded.overtime) == (18, 1500.0, "Oui")


def test_a_colon_in_a_string_is_no_second_key() -> None:
    """Only a repeated key is a duplicate; what looks like one inside a string or an escape is not."""
    assert decode_strictly(without_last_brace() + rb',"employee_ref":"E\u002d1"}', Employee).employee_ref == "E-1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("age", 17), ("age", 71), ("age", "18"), ("age", True), ("age", 18.5), ("age", None), ("age", [18]),
        ("age", 10**30), ("revenu_mensuel", -0.01), ("revenu_mensuel", 10_000_001), ("revenu_mensuel", "1500"),
        ("distance_domicile_travail", -1), ("distance_domicile_travail", 20_001),
        ("satisfaction_environnement", 0), ("satisfaction_environnement", 5),
        ("heures_supp", "oui"), ("heures_supp", True), ("heures_supp", "Yes"),
        ("annees_promo", -1), ("annees_promo", 61), ("satisfaction_equilibre", 0), ("satisfaction_equilibre", 5),
        ("pee", -1), ("pee", 101), ("poste_actuel", -1), ("poste_actuel", 61), ("anciennete", -1), ("anciennete", 61),
        ("exp_totale", -0.5), ("exp_totale", 60.5), ("exp_totale", float("nan")), ("exp_totale", float("inf")),
        ("employee_ref", ""), ("employee_ref", "Anne Dupont"), ("employee_ref", "E-1\n"), ("employee_ref", None),
        ("employee_ref", "x" * 65),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_named(name: str, value: object) -> None:
    """Each field has its type and its bounds; what is outside is named by its pointer."""
    assert errors_of(LEAVER | {name: value}) == {f"/{name}": "invalid"}


@pytest.mark.parametrize("name", LEAVER)
def test_a_missing_field_is_named(name: str) -> None:
    """Every field of the model is required."""
    assert errors_of({key: value for key, value in LEAVER.items() if key != name}) == {f"/{name}": "missing"}


def test_all_errors_come_at_once() -> None:
    """One answer tells everything that is wrong."""
    body = LEAVER | {"age": 3, "pee": "x", "heures_suppl": "Oui"}
    del body["heures_supp"]
    assert errors_of(body) == {
        "/age": "invalid",
        "/pee": "invalid",
        "/heures_supp": "missing",
        "/heures_suppl": "unknown",
    }


def test_an_unknown_field_comes_with_a_suggestion() -> None:
    """The field that was probably meant is named."""
    with pytest.raises(InvalidBody) as caught:
        decode_strictly(json.dumps(LEAVER | {"heures_suppl": "Oui"}).encode(), Employee)
    assert caught.value.errors[0].suggestion == "heures_supp"


def test_a_repeated_key_is_named() -> None:
    """The same key twice is refused, even with equal or escaped spelling: neither value may win silently."""
    assert errors_of(without_last_brace() + b',"age":18}') == {"/age": "duplicate"}
    assert errors_of(without_last_brace() + rb',"\u0061ge":18}') == {"/age": "duplicate"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"nul", b"\xff\xfe", b"{}{}", b"[" * 100_000, b'{"age":' * 50_000, b'\xef\xbb\xbf{}',
        b'{"age": 0x12}', b"{'age': 18}", b'{"age": 18,}', b'{"age": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    """Bytes that are not one JSON text are refused as a whole, however deep or long."""
    assert errors_of(body) == {"": "malformed"}


@pytest.mark.parametrize("body", [b"[]", b"1", b'"a"', b"null", b"true"])
def test_what_is_no_object_is_invalid(body: bytes) -> None:
    """Another JSON value than an object is refused as a whole."""
    assert errors_of(body) == {"": "invalid"}


def test_a_hostile_name_is_made_harmless() -> None:
    """A pointer escapes its name (RFC 6901), and neither its length nor its code points can hurt the answer."""
    assert errors_of(LEAVER | {"a/b~c": 1}) == {"/a~1b~0c": "unknown"}
    assert errors_of(without_last_brace() + rb',"\ud800":1}') == {"/?": "unknown"}
    assert all(len(pointer) < 70 for pointer in errors_of(LEAVER | {"x" * 10_000: 1}))
    assert len(errors_of({f"field{n}": n for n in range(1000)})) == 50


def test_bounds_are_told_in_both_languages() -> None:
    """The message says what the field must be, in words made from the published schema."""
    with pytest.raises(InvalidBody) as caught:
        decode_strictly(json.dumps(LEAVER | {"age": 3}).encode(), Employee)
    detail = caught.value.errors[0].detail
    assert detail[Language.FR] == "Doit être un entier compris entre 18 et 70."
    assert detail[Language.EN] == "Must be an integer between 18 and 70."


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from([*LEAVER, "employee_ref", "x"]) | st.text(), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_decoded_or_refused(body: bytes) -> None:
    """No body whatever raises anything but InvalidBody, and a refusal always says why."""
    try:
        decode_strictly(body, Employee)
    except InvalidBody as refusal:
        assert refusal.errors  # noqa: PT017


@given(secret=st.text(alphabet="QZ", min_size=8, max_size=20), name=st.sampled_from(sorted(LEAVER)))
def test_no_error_repeats_a_value(secret: str, name: str) -> None:
    """What was sent as a value is nowhere in the errors."""
    with pytest.raises(InvalidBody) as caught:
        decode_strictly(json.dumps(LEAVER | {name: secret}).encode(), Employee)
    assert secret not in repr(caught.value.errors)


def test_the_employee_survives_a_round_trip() -> None:
    """An employee encoded by us decodes to itself."""
    import msgspec  # noqa: PLC0415

    original = employee(employee_ref="E-7")
    assert decode_strictly(msgspec.json.encode(original), Employee) == original
