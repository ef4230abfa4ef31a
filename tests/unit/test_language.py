"""Which language a client asks for."""

import pytest

from churn.domain.language import Language
from churn.http.language import preferred_language


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Language.FR),
        ("en", Language.EN),
        ("en-GB,en;q=0.9,fr;q=0.8", Language.EN),
        ("fr-CA, en;q=0.5", Language.FR),
        ("en;q=0.3, fr;q=0.7", Language.FR),
        ("de, en;q=0.1", Language.EN),
        ("de", Language.FR),
        ("*", Language.FR),
        ("en;q=0", Language.FR),
        ("en;q=lots", Language.FR),
        (";;;,,,q=", Language.FR),
        ("EN-us", Language.EN),
    ],
)
def test_the_best_of_our_languages_wins(header: str, expected: Language) -> None:
    """The header's weights decide between French and English; French when it names neither."""
    assert preferred_language(header) is expected
