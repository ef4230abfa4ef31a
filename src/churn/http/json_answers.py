"""The answers to many employees as JSON: to the byte what the encoder makes of each `answer_to`, column by column.

Few texts differ from one employee to the next, and those are made once: all that is done for each is to join them.
"""

from functools import lru_cache
from typing import Any, Final, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from churn.domain.employee import FEATURES, Employee, Overtime
from churn.domain.language import Language
from churn.domain.prediction import RISK_MESSAGES, RISKS, Risk
from churn.domain.predictions import Predictions, members
from churn.http.answers import cautions, contribution
from churn.wire import PredictionAnswer

#: Texts of contributions of one feature that are kept; usually there are a few dozen.
_MOST_KEPT: Final = 1 << 12
#: Stand for what comes in between.
_GAP: Final[Any] = msgspec.Raw(b"\0")
_GAP_IN_TEXT: Final[Any] = msgspec.Raw(b'"\0"')
_OVERTIME: Final = FEATURES.index("heures_supp")
#: Positions of the features that are any number, so that few employees have the same.
_CONTINUOUS: Final = frozenset(
    FEATURES.index(field.encode_name)
    for field in msgspec.structs.fields(Employee)
    if field.encode_name in FEATURES and get_args(field.type)[0] is float
)


def json_answers(predictions: Predictions, language: Language) -> list[bytes]:
    """A JSON object for each of `predictions`."""
    scores, risks = predictions.scores, predictions.risk.tolist()
    frames = [_frame(predictions, risk, language) for risk in RISKS]
    shares: list[list[bytes]] = [[b"null"] * len(predictions)]
    if scores.contributions is not None:
        shares = _shares(predictions.employees.features, scores.contributions, language)
    ends = [_Ends(before, after, language) for *_, before, after in frames]
    columns = [
        [frames[risk][0] for risk in risks],
        _numbers(scores.probability),
        [frames[risk][1] for risk in risks],
        _identifiers(predictions.ids),
        [frames[risk][2] for risk in risks],
        *shares,
        [ends[risk][outside] for risk, outside in zip(risks, scores.outside().tolist(), strict=True)],
    ]
    return list(map(b"".join, zip(*columns, strict=True)))


def _frame(predictions: Predictions, risk: Risk, language: Language) -> list[bytes]:
    """What is before, between and after the probability, the id, the contributions and the warnings."""
    answer = PredictionAnswer(
        prediction=int(risk is Risk.HIGH),
        probability=_GAP,
        message=RISK_MESSAGES[language][risk],
        id=_GAP_IN_TEXT,
        threshold=predictions.threshold,
        risk=risk,
        model_version=predictions.model_version,
        intercept=predictions.intercept,
        contributions=_GAP,
        warnings=_GAP,
    )
    return msgspec.json.encode(answer).split(b"\0")


def _numbers(values: NDArray[np.float64]) -> list[bytes]:
    return msgspec.json.encode(values.tolist())[1:-1].split(b",") if len(values) else []


def _identifiers(ids: NDArray[np.uint8]) -> list[bytes]:
    digits = np.frombuffer(ids.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    text = np.full((len(ids), 36), ord("-"), np.uint8)
    for hyphens, (start, end) in enumerate(((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))):
        text[:, start + hyphens : end + hyphens] = digits[:, start:end]
    identifiers: list[bytes] = text.view("S36").ravel().tolist()
    return identifiers


def _shares(features: NDArray[np.float64], contributions: NDArray[np.float64], language: Language) -> list[list[bytes]]:
    """The columns of texts of which a list of contributions, the strongest first, consists."""
    texts = np.empty((len(FEATURES), len(features)), object)
    for position, text in enumerate(_TEXTS[language]):
        texts[position] = text(features[:, position], contributions[:, position])
    # As a stable sort would have it: the first of equals comes first.
    order = np.argsort(-np.abs(contributions), axis=1, kind="stable").T
    everyone = np.arange(len(features))
    columns: list[list[bytes]] = [texts[strongest, everyone].tolist() for strongest in order]
    # No comma after the last one.
    columns[-1] = [text[:-1] for text in columns[-1]]
    return [[b"["] * len(features), *columns, [b"]"] * len(features)]


class _Texts:
    """The contributions of one feature as texts, a comma after each."""

    def __init__(self, position: int, language: Language) -> None:
        self._position, self._language = position, language
        self._start = self._text(_GAP, 0.0).split(b"\0")[0]
        self._end = lru_cache(_MOST_KEPT)(lambda log_odds: self._text(_GAP, log_odds).split(b"\0")[1])
        self._whole = lru_cache(_MOST_KEPT)(self._text)

    def __call__(self, values: NDArray[np.float64], log_odds: NDArray[np.float64]) -> NDArray[np.object_]:
        """That of each of `values`, which adds one of `log_odds`; both of shape (n,)."""
        if self._position in _CONTINUOUS:
            ends = map(self._end, log_odds.tolist())
            texts = [self._start + number + end for number, end in zip(_numbers(values), ends, strict=True)]
            return np.fromiter(texts, object, len(values))
        codes = values.astype(np.intp)
        shares = np.zeros(codes.max(initial=0) + 1)
        shares[codes] = log_odds
        told = [self._told(code) for code in range(len(shares))]
        if np.array_equal(shares[codes], log_odds):
            return np.fromiter(map(self._whole, told, shares.tolist()), object, len(told))[codes]
        # The model is not additive: a value adds one thing to one employee and another to the next.
        return np.fromiter(map(self._whole, map(told.__getitem__, codes), log_odds.tolist()), object, len(codes))

    def _told(self, code: int) -> int | Overtime:
        if self._position == _OVERTIME:
            return Overtime.YES if code else Overtime.NO
        return code

    def _text(self, value: Any, log_odds: float) -> bytes:  # noqa: ANN401 - it may be the gap
        return msgspec.json.encode(contribution(self._position, value, log_odds, self._language)) + b","


class _Ends(dict[int, bytes]):
    """By the set of values out of range, the text of an answer after its contributions."""

    def __init__(self, before: bytes, after: bytes, language: Language) -> None:
        super().__init__()
        self._before, self._after, self._language = before, after, language

    def __missing__(self, outside: int) -> bytes:
        warnings = msgspec.json.encode(cautions(members(outside), self._language))
        text = self[outside] = self._before + warnings + self._after
        return text


_TEXTS: Final = {language: [_Texts(position, language) for position in range(len(FEATURES))] for language in Language}
