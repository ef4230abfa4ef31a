"""What the documents on security and reliability point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("document", ["docs/asvs.md", "docs/reliability.md", "SECURITY.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    """A row that names a file or a test is no better than that file."""
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:src|tests|docs|bench)/[\w./-]+|Makefile|pyproject\.toml)`", text))
    named |= {target for target in re.findall(r"\]\(([^):#]+)[^)]*\)", text) if document == "SECURITY.md"}
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


#: Requirements of levels 1 and 2 in each section of ASVS 5.0.0, where those of level 3 come last: 253.
REQUIREMENTS = {
    1: {1: 2, 2: 9, 3: 11, 4: 3, 5: 2},
    2: {1: 3, 2: 3, 3: 4, 4: 1},
    3: {2: 2, 3: 4, 4: 6, 5: 5, 7: 2},
    4: {1: 3, 2: 1, 3: 2, 4: 4},
    5: {1: 1, 2: 3, 3: 2, 4: 3},
    6: {1: 3, 2: 12, 3: 4, 4: 4, 5: 5, 6: 3, 8: 4},
    7: {1: 3, 2: 4, 3: 2, 4: 5, 5: 2, 6: 2},
    8: {1: 2, 2: 3, 3: 1, 4: 1},
    9: {1: 3, 2: 4},
    10: {1: 2, 2: 2, 3: 4, 4: 11, 5: 5, 6: 2, 7: 3},
    11: {1: 2, 2: 3, 3: 3, 4: 4, 5: 1, 6: 1},
    12: {1: 3, 2: 2, 3: 4},
    13: {1: 1, 2: 5, 3: 2, 4: 5},
    14: {1: 2, 2: 4, 3: 3},
    15: {1: 3, 2: 3, 3: 7},
    16: {1: 1, 2: 5, 3: 4, 4: 3, 5: 3},
    17: {1: 1, 2: 4, 3: 2},
}


def test_the_asvs_table_has_every_requirement_once() -> None:
    """Levels 1 and 2 of the standard, each with an answer and a reason."""
    every = [
        (chapter, section, number)
        for chapter, sections in REQUIREMENTS.items()
        for section, last in sections.items()
        for number in range(1, last + 1)
    ]
    answered = []
    for line in (ROOT / "docs/asvs.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("| V"):
            continue
        requirements, level, asked, answer, reason = (cell.strip() for cell in line.strip("|").split(" | "))
        assert level in {"1", "2", "1–2"}, line
        assert answer in {"yes", "no", "n/a"}, line
        assert asked, line
        assert reason, line
        for part in requirements.split(", "):
            first, _, last = part.partition("–")
            start = tuple(map(int, first[1:].split(".")))
            end = tuple(map(int, last[1:].split("."))) if "." in last else (*start[:2], int(last or start[2]))
            answered += [item for item in every if start <= item <= end]
    assert sorted(answered) == every
