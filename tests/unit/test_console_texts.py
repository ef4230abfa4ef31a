"""What the console says: numbers of things, and what manifests say, in both languages."""

import re
from pathlib import Path
from string import Formatter
from types import SimpleNamespace

import msgspec
import pytest
from tests.unit.test_alerts import MANIFEST

from churn.domain.language import Language
from churn.http.console import page
from churn.http.console.card import Told, tell, tell_fairness
from churn.http.console.page import _TEMPLATES
from churn.http.console.words import TEXTS, Formats
from churn.training import card, fairness

FOLDER = Path(page.__file__).parent / "templates"
FRENCH, ENGLISH = Formats(Language.FR), Formats(Language.EN)
PREDICTIONS = {language: TEXTS[language]["monitoring"]["predictions"] for language in Language}


@pytest.mark.parametrize(
    ("n", "french", "english"),
    [
        (0, "0 prédiction", "0 predictions"),
        (1, "1 prédiction", "1 prediction"),
        (1.4, "1 prédiction", "1 prediction"),
        (1.6, "2 prédictions", "2 predictions"),
        (12345, "12\u202f345 prédictions", "12,345 predictions"),
    ],
)
def test_one_and_many(n: float, french: str, english: str) -> None:
    """As each language counts, with the number written as it writes numbers."""
    assert FRENCH.count(PREDICTIONS[Language.FR], n) == french
    assert ENGLISH.count(PREDICTIONS[Language.EN], n) == english


def test_every_count_has_two_forms_in_both_languages() -> None:
    """A text with a number of things has one bar and the number on both sides; no other text has a bar."""
    for language in Language:
        for part, texts in TEXTS[language].items():
            for name, text in texts.items():
                forms = text.split(" | ")
                if (part, name) == ("file", "page"):  # of a number, not of things
                    continue
                assert len(forms) == (2 if "{n}" in text or "|" in text else 1), (part, name)


def test_both_languages_have_the_same_places() -> None:
    """What is filled in is filled in in both."""

    def places(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    for part, texts in TEXTS[Language.FR].items():
        for name, text in texts.items():
            assert places(text) == places(TEXTS[Language.EN][part][name]), (part, name)


def test_a_card_is_french_in_french() -> None:
    """Everything that the training writes into a manifest, with its numbers as French writes them."""
    said = [*card.INTENDED_USE, *card.FORBIDDEN_USE, *MANIFEST.limits]
    for text in said:
        assert not tell(FRENCH, text).lang, text
        assert tell(ENGLISH, text).text == text
    assert any("1\u202f470 employés, dont 237 sont partis" in tell(FRENCH, text).text for text in said)
    assert len(MANIFEST.limits) == 5


@pytest.mark.parametrize("ratio", [(1.0, 0.9, 1.1), (0.4, 0.3, 0.5), (1.0, 0.5, 2.0)])
@pytest.mark.parametrize("calibration", [(0.1, 0.05, 0.2), (-0.1, -0.2, -0.05), (0.0, -0.1, 0.1)])
def test_what_is_found_of_groups_is_french_in_french(ratio: tuple[float, ...], calibration: tuple[float, ...]) -> None:
    """Whatever the verdict."""
    for trait in MANIFEST.fairness:
        groups = tuple(
            msgspec.structs.replace(
                group,
                flagged_ratio=type(group.flagged_ratio)(*ratio),
                calibration=type(group.calibration)(*calibration),
            )
            for group in trait.groups
        )
        made = msgspec.structs.replace(
            trait, groups=groups, findings=tuple(fairness._finding(trait.trait, group) for group in groups)
        )
        name, findings = tell_fairness(FRENCH, made)
        assert name.text != trait.trait
        for found in findings:
            assert not found.lang
            assert f"{ratio[0]:.2f}".replace(".", ",") in found.text
            assert not re.search("[a-z]* (flagged|rule|risk)", found.text)
        assert [found.text for found in tell_fairness(ENGLISH, made)[1]] == list(made.findings)


def test_what_nobody_has_said_in_french_stays_as_it_is() -> None:
    """And is marked as English, for whoever reads it aloud."""
    assert tell(FRENCH, "Something else.") == Told("Something else.", "en")
    made = msgspec.structs.replace(
        MANIFEST.fairness[0], findings=("Something else.",) * len(MANIFEST.fairness[0].groups)
    )
    assert {found.lang for found in tell_fairness(FRENCH, made)[1]} == {"en"}


@pytest.mark.parametrize("template", sorted(_TEMPLATES.list_templates()))
def test_every_text_that_a_template_names_is_there(template: str) -> None:
    """In the part of its page, or in the frame; and none has the name of what every object has."""
    source = (FOLDER / template).read_text(encoding="utf-8")
    named = set(re.findall(r"\bt\.([a-z_]+)", source))
    everywhere = {name for texts in TEXTS[Language.FR].values() for name in texts}
    assert named <= everywhere
    assert not named & set(dir(SimpleNamespace()))


@pytest.mark.parametrize(
    ("feature", "french"), [("satisfaction_environnement", "très élevée"), ("satisfaction_equilibre", "très élevé")]
)
def test_levels_agree_with_what_they_are_of(feature: str, french: str) -> None:
    """In French, with its gender."""
    assert FRENCH.level(feature, 4) == french
    assert ENGLISH.level(feature, 4) == "very high"
