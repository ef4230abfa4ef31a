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
