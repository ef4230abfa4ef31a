"""Which data may be trained on, and what is said of those that may not."""

import numpy as np
import polars as pl
import pytest

from churn.domain.columns import IBM_COLUMNS
from churn.domain.employee import FEATURES
from churn.training.data import InvalidTrainingData, check_columns, public_data, read_file


def workforce(count=100, leavers=40):
    """Columns, with the wire names, of `count` different employees of whom the first `leavers` left."""
    return {
        "id_employee": list(range(count)),
        "age": [18 + i % 50 for i in range(count)],
        "revenu_mensuel": [1000.0 + i for i in range(count)],
        "distance_domicile_travail": [i % 30 for i in range(count)],
        "satisfaction_environnement": [1 + i % 4 for i in range(count)],
        "heures_supp": ["Oui" if i % 3 else "Non" for i in range(count)],
        "annees_promo": [i % 10 for i in range(count)],
        "satisfaction_equilibre": [1 + i % 4 for i in range(count)],
        "pee": [i % 4 for i in range(count)],
        "poste_actuel": [i % 12 for i in range(count)],
        "anciennete": [i % 20 for i in range(count)],
        "exp_totale": [i % 30 + 0.5 for i in range(count)],
        "a_quitte_l_entreprise": ["Oui" if i < leavers else "Non" for i in range(count)],
    }


def problems(columns, **options):
    """What is wrong with `columns`."""
    with pytest.raises(InvalidTrainingData) as caught:
        check_columns(columns, name="n", source="s", licence="l", **options)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def accepted(columns, **options):
    return check_columns(columns, name="n", source="s", licence="l", **options)


@pytest.fixture(scope="module")
def public():
    return public_data()


def test_the_public_data_are_the_known_ones(public):
    """1,470 employees, 237 of whom left, in the ranges that the data's own documentation gives."""
    assert public.features.shape == (1470, len(FEATURES))
    assert public.left.sum() == 237
    assert public.features.min(axis=0).tolist() == [18, 1009, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert public.features.max(axis=0).tolist() == [60, 19999, 29, 4, 1, 15, 4, 3, 18, 40, 40]
    # The first employee of the data: 41, overtime, environment "Medium", balance "Bad", left.
    assert public.features[0].tolist() == [41, 5993, 1, 2, 1, 0, 1, 0, 4, 6, 8]
    assert public.left[0] == 1
    assert set(public.groups) == {"age band", "gender", "marital status"}
    assert set(public.groups["gender"]) == {"Female", "Male"}
    assert public.sha256 == public_data().sha256


def test_the_digest_is_that_of_the_numbers(public):
    """Other features, or another outcome, have another digest."""
    columns = workforce()
    original = accepted(columns).sha256
    assert accepted(columns | {"age": [*columns["age"][:-1], 44]}).sha256 != original
    assert (
        accepted(columns | {"a_quitte_l_entreprise": [*columns["a_quitte_l_entreprise"][:-1], "Oui"]}).sha256
        != original
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("names", ["wire", "ibm"])
def test_a_file_says_the_same_as_its_columns(tmp_path, suffix, names):
    """CSV and Parquet, with the wire names or those of the IBM data, give the same employees."""
    frame = pl.DataFrame(workforce(), strict=False)
    expected = accepted(workforce())
    if names == "ibm":
        frame = frame.rename({**dict(zip(FEATURES, IBM_COLUMNS, strict=True)), "a_quitte_l_entreprise": "Attrition"})
    path = tmp_path / f"employees.{suffix}"
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    data = read_file(path)
    assert np.array_equal(data.features, expected.features)
    assert np.array_equal(data.left, expected.left)
    assert data.sha256 == expected.sha256
    assert data.name == path.name


def test_every_mistake_is_named_by_row_and_column():
    """All mistakes are told at once, and none repeats an employee's value."""
    columns = workforce()
    columns["age"][0] = 17
    columns["age"][4] = None
    columns["revenu_mensuel"][1] = float("nan")
    columns["exp_totale"][1] = "inf"
    columns["satisfaction_environnement"][2] = "Very_Low"
    columns["heures_supp"][3] = "Parfois"
    columns["anciennete"][99] = 61.5
    columns["a_quitte_l_entreprise"][5] = "peut-être"
    found = problems(columns)
    assert [problem.split(":")[0] for problem in found] == [
        "row 1, age",
        "row 5, age",
        "row 2, revenu_mensuel",
        "row 3, satisfaction_environnement",
        "row 4, heures_supp",
        "row 100, anciennete",
        "row 2, exp_totale",
        "row 6, a_quitte_l_entreprise",
    ]
    assert "row 1, age: expected `int` >= 18" in found
    assert "row 4, heures_supp: expected `Oui` or `Non`" in found
    for value in ("17", "Very_Low", "Parfois", "61.5", "peut-être"):
        assert value not in "\n".join(found)


def test_a_missing_column_is_named():
    """Each missing column is named in both vocabularies, and so is a missing target."""
    columns = workforce()
    for name in ("pee", "age", "a_quitte_l_entreprise"):
        del columns[name]
    assert problems(columns) == (
        "column age or Age is missing",
        "column pee or StockOptionLevel is missing",
        "target column a_quitte_l_entreprise or Attrition is missing",
    )


def test_a_column_there_twice_is_not_guessed():
    """With both names for one feature it is not for churn to choose."""
    columns = workforce()
    assert problems(columns | {"Age": columns["age"]}) == ("age and Age: which one?",)


def test_the_target_may_have_another_name():
    """The column that `target` names says who left, in any usual spelling."""
    columns = workforce()
    outcome = columns.pop("a_quitte_l_entreprise")
    expected = [int(word == "Oui") for word in outcome]
    for spelling in (
        {"Oui": "YES", "Non": "no"},
        {"Oui": 1, "Non": 0},
        {"Oui": True, "Non": False},
        {"Oui": 1.0, "Non": 0.0},
    ):
        data = accepted(columns | {"gone": [spelling[word] for word in outcome]}, target="gone")
        assert data.left.tolist() == expected
    assert problems(columns, target="gone") == ("target column gone is missing",)


def test_duplicate_employees_are_refused():
    """The same identifier twice is one employee twice; without identifiers, the same row twice is."""
    columns = workforce()
    columns["id_employee"][7] = 3
    assert problems(columns) == ("row 8, id_employee: the employee of row 4 again",)
    columns = {name: [*values, values[2]] for name, values in workforce().items() if name != "id_employee"}
    assert problems(columns) == ("row 101: the employee of row 3 again",)


@pytest.mark.parametrize(
    ("count", "leavers", "message"),
    [(100, 0, "one class only"), (100, 100, "one class only"), (0, 0, "one class only"), (100, 29, "fewer than 30"),
     (100, 71, "fewer than 30")],
)  # fmt: skip
def test_too_few_to_learn_from_are_refused(count, leavers, message):
    """Both outcomes must occur, thirty times each."""
    (problem,) = problems(workforce(count, leavers))
    assert message in problem
    assert accepted(workforce(100, 30)).left.sum() == 30


@pytest.mark.parametrize(
    ("name", "content"), [("a.xlsx", b"x"), ("a.parquet", b"x"), ("a.csv", b""), ("gone.csv", None)]
)
def test_a_file_that_is_none_is_refused(tmp_path, name, content):
    """A file of another kind, broken, empty or missing is named, with the reason."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidTrainingData, match=name):
        read_file(path)


def test_groups_come_from_either_vocabulary():
    """Gender and marital status are found by their French names too; who has none is unknown, not lost."""
    data = accepted(workforce() | {"genre": ["F", None] * 50})
    assert set(data.groups) == {"age band", "gender"}
    assert set(data.groups["gender"]) == {"F", "unknown"}
    assert data.groups["age band"][:2].tolist() == ["under 30", "under 30"]
    assert data.groups["age band"][12] == "30 to 39"
