"""From a frame of employees to a frame of answers: which rows can be scored, and what is said of them."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn.domain.columns import LABELS, Layout
from churn.domain.csv_cell import FORMULA_PATTERN, NUMBER_PATTERN, inert
from churn.domain.employee import EMPLOYEE_REF_PATTERN, FEATURES, Employee
from churn.domain.errors import RowsRefused, UnsuitableFile
from churn.domain.expectation import MISSING, expectations, schemas
from churn.domain.explanation import LABELS as TITLES
from churn.domain.explanation import NEGLIGIBLE, sentence
from churn.domain.language import Language
from churn.domain.prediction import RISK_MESSAGES, Risk
from churn.domain.predictions import ScoreMatrix, members
from churn.ports import Predictor

#: Column of what a row has beyond the columns of its file, or of what is wrong with it as a whole; no file can have a
#: column of that name.
FAULT: Final = "\x00fault"

#: How many of the rows that refuse a job are told of.
_MOST_TOLD: Final = 5
_SCHEMAS: Final = schemas(Employee)
_EXPECTED: Final = expectations(Employee)
#: As Rust reads it: there `$` lets no trailing newline pass.
_REFERENCE: Final = EMPLOYEE_REF_PATTERN.removesuffix(r"(?!\n)")
_YES: Final = ("Oui", "Yes")
_NO: Final = ("Non", "No")
#: White space, also that which French puts between thousands.
_SPACES: Final = r"[\s\u00a0\u202f]+"
#: Three decimals after a comma may as well be thousands.
_THOUSANDS: Final = r"^[+-]?[0-9]{1,3}(?:,[0-9]{3})+$"
_COLON: Final = {Language.FR: " : ", Language.EN: ": "}
_OUTSIDE: Final = {
    Language.FR: "Hors de la plage d'apprentissage, évalué à son bord : ",
    Language.EN: "Outside the training range, scored at its edge: ",
}


class Scored(NamedTuple):
    """What became of the rows of a frame."""

    answers: pl.DataFrame
    """The rows that could be scored, in order: their columns, then the answer's."""
    features: NDArray[np.float64]
    """Theirs: shape (n, 11)."""
    scores: ScoreMatrix
    """Theirs."""
    rejected: NDArray[np.intp]
    """Positions in the frame of the rows that could not."""
    reasons: Sequence[str]
    """Why, in the same order."""


class FrameScorer:
    """Scores frames with one set of columns. May be used by several threads at once."""

    def __init__(
        self, predictor: Predictor, layout: Layout, *, language: Language, reasons: int, comma_decimals: bool = False
    ) -> None:
        """Prepare the sentences.

        Args:
            predictor: scores.
            layout: of the frames.
            language: of what is said.
            reasons: how many of the strongest factors are told.
            comma_decimals: whether `1,500` is one and a half. If not it is refused, because it may be 1500;
                `1,5` is understood in any case.
        """
        self._predictor = predictor
        self._layout = layout
        self._language = language
        self._comma_decimals = comma_decimals
        self._reasons = reasons
        # Of feature j, whose direction is d in (0: neutral, 1: raises, 2: lowers), sentence 3 j + d.
        self._sentences = pl.Series(
            [sentence(feature, share, language) for feature in FEATURES for share in (0.0, 1.0, -1.0)]
        )
        self._messages = pl.Series([RISK_MESSAGES[language][risk] for risk in (Risk.LOW, Risk.MODERATE, Risk.HIGH)])
        self.columns = (
            "prediction",
            "probability",
            "message",
            *(f"reason_{n}" for n in range(1, reasons + 1)),
            "warnings",
            "model_version",
        )

    def __call__(self, frame: pl.DataFrame) -> Scored:
        """Score the rows of `frame` that can be."""
        columns = np.empty((len(FEATURES), frame.height))
        valid = np.empty((len(FEATURES), frame.height), dtype=np.bool_)
        for j, (feature, name) in enumerate(zip(FEATURES, self._layout.features, strict=True)):
            columns[j], valid[j] = self._read(frame[name], feature)
        good = valid.all(axis=0)
        faults = frame[FAULT] if FAULT in frame.columns else None
        if faults is not None:
            good &= faults.is_null().to_numpy()
            frame = frame.drop(FAULT)
        named = self._named(frame)
        if named is not None:
            good &= named
        rejected = np.flatnonzero(~good)
        reasons: Sequence[str] = ()
        if len(rejected):
            reasons = self._explain_faults(frame, rejected, valid, faults, named)
            columns, frame = columns[:, good], frame.filter(good)
        scores = self._predictor.predict_matrix(columns.T)
        return Scored(frame.with_columns(self._answer(scores)), columns.T, scores, rejected, reasons)

    def _read(self, column: pl.Series, feature: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The numbers in a column, and where there is one that an employee can have."""
        values = self._overtime(column) if feature == "heures_supp" else self._numbers(column, feature)
        numbers = values.to_numpy()
        schema = _SCHEMAS[feature]
        # Not a number is neither above nor below anything.
        valid: NDArray[np.bool_] = (numbers >= schema.get("minimum", 0)) & (numbers <= schema.get("maximum", 1))
        if schema.get("type") == "integer":
            valid &= np.floor(numbers) == numbers
        return numbers, valid

    def _numbers(self, column: pl.Series, feature: str) -> pl.Series:
        if column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        if column.dtype.is_numeric():
            return column.cast(pl.Float64, strict=False)
        if column.dtype != pl.String:
            return pl.repeat(None, len(column), dtype=pl.Float64, eager=True)
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
        # Only now what costs more: spaces, decimal commas and the labels of the IBM data.
        text = column.str.replace_all(_SPACES, "")
        if not self._comma_decimals:
            text = pl.select(pl.when(~text.str.contains(_THOUSANDS)).then(text)).to_series()
        labels = LABELS.get(feature)
        if labels:
            text = text.replace(list(labels), [str(value) for value in labels.values()])
        return text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)

    @staticmethod
    def _overtime(column: pl.Series) -> pl.Series:
        if column.dtype == pl.Boolean:
            return column.cast(pl.Float64)
        if column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        if column.dtype != pl.String:
            return pl.repeat(None, len(column), dtype=pl.Float64, eager=True)
        yes, no = column.is_in(_YES), column.is_in(_NO)
        if (yes | no).sum() < len(column) - column.null_count():
            text = column.str.strip_chars().str.to_lowercase()
            yes, no = text.is_in([word.lower() for word in _YES]), text.is_in([word.lower() for word in _NO])
        return pl.select(pl.when(yes).then(1.0).when(no).then(0.0)).to_series()

    def _named(self, frame: pl.DataFrame) -> NDArray[np.bool_] | None:
        """Where the pseudonym is one, or absent; None if there is no such column or all of them are."""
        name = self._layout.employee_ref
        if name is None:
            return None
        valid = references(frame[name]).str.contains(_REFERENCE).fill_null(value=True)
        return None if valid.all() else valid.to_numpy()

    def _explain_faults(
        self,
        frame: pl.DataFrame,
        rejected: NDArray[np.intp],
        valid: NDArray[np.bool_],
        faults: pl.Series | None,
        named: NDArray[np.bool_] | None,
    ) -> list[str]:
        rows = frame[rejected]
        checks = list(zip(FEATURES, self._layout.features, valid[:, rejected], strict=True))
        if named is not None and self._layout.employee_ref is not None:
            checks.append(("employee_ref", self._layout.employee_ref, named[rejected]))
        cells = [self._fault(rows[name], feature, fine) for feature, name, fine in checks if not fine.all()]
        told = pl.concat_str(cells, separator=" ; ", ignore_nulls=True) if cells else pl.lit("")
        # What is wrong with a row as a whole makes the rest of it meaningless.
        return pl.select(told if faults is None else pl.coalesce(faults[rejected], told)).to_series().to_list()

    def _fault(self, column: pl.Series, feature: str, fine: NDArray[np.bool_]) -> pl.Expr:
        """What is wrong with the cells of a column, by its own name; null where they are fine."""
        absent = column.cast(pl.String).str.strip_chars().fill_null("") == ""
        prefix = column.name + _COLON[self._language]
        return (
            pl.when(pl.Series(fine))
            .then(None)
            .when(absent)
            .then(pl.lit(prefix + MISSING[self._language]))
            .otherwise(pl.lit(prefix + _EXPECTED[feature][self._language]))
        )

    def _answer(self, scores: ScoreMatrix) -> Iterable[pl.Series]:
        model = self._predictor.info
        probability = scores.probability
        yield pl.Series("prediction", (probability >= model.threshold).astype(np.int8))
        yield pl.Series("probability", probability)
        yield self._messages.gather(model.risks(probability)).alias("message")
        yield from self._reason_columns(scores)
        yield self._warnings(scores.outside())
        yield pl.repeat(model.version, len(probability), dtype=pl.String, eager=True).alias("model_version")

    def _reason_columns(self, scores: ScoreMatrix) -> Iterable[pl.Series]:
        if scores.contributions is None:
            for n in range(1, self._reasons + 1):
                yield pl.repeat(None, len(scores.probability), dtype=pl.String, eager=True).alias(f"reason_{n}")
            return
        shares = scores.contributions.T
        strength = np.abs(shares)
        everyone = np.arange(strength.shape[1])
        for n in range(1, self._reasons + 1):
            # The first of equals, as a stable sort would have it.
            strongest = strength.argmax(axis=0)
            share = shares[strongest, everyone]
            strength[strongest, everyone] = -1.0
            direction = np.where(share >= NEGLIGIBLE, 1, np.where(share <= -NEGLIGIBLE, 2, 0))
            yield self._sentences.gather(3 * strongest + direction).alias(f"reason_{n}")

    def _warnings(self, outside: NDArray[np.int64]) -> pl.Series:
        texts: list[str | None] = [None] * (1 << len(FEATURES))
        titles = TITLES[self._language]
        for some in np.flatnonzero(np.bincount(outside)).tolist():
            names = [titles[FEATURES[position]] for position in members(some)]
            texts[some] = _OUTSIDE[self._language] + ", ".join(names) if names else None
        return pl.Series(texts, dtype=pl.String).gather(outside).alias("warnings")


def rejections(frame: pl.DataFrame, lines: Sequence[int] | NDArray[np.int64], scored: Scored) -> pl.DataFrame:
    """The rows of `frame` that could not be scored, each with its line and the reason."""
    numbers = pl.Series("line", lines, dtype=pl.Int64)[scored.rejected]
    reasons = pl.Series("reason", scored.reasons, dtype=pl.String)
    rows = frame[scored.rejected].drop(FAULT, "line", "reason", strict=False)
    return pl.DataFrame([numbers, reasons]).hstack(rows.select(~pl.selectors.nested()))


def told(name: str, rejected: pl.DataFrame) -> list[str]:
    """The first few of the rows that were rejected from the file `name`, without a value."""
    first = rejected.select("line", "reason").head(_MOST_TOLD)
    return [f"{name}, line {line}: {reason}" for line, reason in first.iter_rows()]


def refusal(rows: Sequence[str]) -> RowsRefused:
    """That a strict job cannot be done, because of `rows` as `told` has them."""
    return RowsRefused("\n".join(["rows cannot be scored, and nothing was written; among them:", *rows]))


def other_columns(name: str, different: set[str]) -> UnsuitableFile:
    """That the file `name` has not the columns of the first one."""
    return UnsuitableFile(
        f"{name}: its columns are not those of the first file; they differ in {', '.join(sorted(different))}"
    )


def references(column: pl.Series) -> pl.Series:
    """The pseudonyms in a column, null where there is none."""
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def inert_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with every cell and column name as `inert` leaves it; numbers are not touched."""
    return frame.with_columns(
        _inert(column)
        for column in frame.iter_columns()
        if column.dtype == pl.String and column.str.contains(FORMULA_PATTERN).any()
    ).rename(inert)


def _inert(column: pl.Series) -> pl.Series:
    formula = column.str.contains(FORMULA_PATTERN) & ~column.str.contains(NUMBER_PATTERN)
    return pl.select(pl.when(formula).then("'" + column).otherwise(column).alias(column.name)).to_series()
