"""Which column of a file holds what."""

import pytest

from churn.domain.columns import IBM_COLUMNS, find_layout
from churn.domain.employee import FEATURES
from churn.domain.errors import UnsuitableFile


def test_either_spelling_is_found() -> None:
    """The columns come in any order, each by its name on the wire or in the IBM data, among others."""
    mixed = [ibm if n % 2 else wire for n, (wire, ibm) in enumerate(zip(FEATURES, IBM_COLUMNS, strict=True))]
    layout = find_layout(["service", *reversed(mixed), "employee_ref"])
    assert layout.features == tuple(mixed)
    assert layout.employee_ref == "employee_ref"
    assert layout.columns[0] == "service"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (FEATURES[1:], "column age, or Age, is missing"),
        ((*FEATURES, "Age"), "columns age and Age are both there: which one?"),
        ((*FEATURES, "x", "x"), "column x is there twice"),
        (("AGE", *FEATURES[1:]), "column age, or Age, is missing (is it 'AGE'?)"),
        (
            (*FEATURES[:4], "heures_suppl", *FEATURES[5:]),
            "column heures_supp, or OverTime, is missing (is it 'heures_suppl'?)",
        ),
    ],
)
def test_what_is_wrong_is_named(columns: tuple[str, ...], message: str) -> None:
    """A column that is missing, ambiguous or there twice is named, with the name that resembles it most."""
    with pytest.raises(UnsuitableFile) as refused:
        find_layout(columns)
    assert str(refused.value) == message


def test_everything_wrong_is_named_at_once() -> None:
    """One attempt tells all."""
    with pytest.raises(UnsuitableFile) as refused:
        find_layout(["a"])
    assert all(name in str(refused.value) for name in FEATURES)
