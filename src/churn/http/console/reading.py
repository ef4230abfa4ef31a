"""What a visitor has typed or an address says, as values; None for what is none."""

from datetime import date
from uuid import UUID

from litestar.datastructures import FormMultiDict


def text_of(form: FormMultiDict, name: str, *, longest: int = 1000) -> str:
    """The text of the field `name`, without the spaces around it; empty if there is none."""
    value = form.get(name, "")
    return value.strip()[:longest] if isinstance(value, str) else ""


def uuid_of(text: str) -> UUID | None:
    """The UUID that `text` is."""
    try:
        return UUID(text)
    except ValueError:
        return None


def day_of(text: str) -> date | None:
    """The day that `text` is in ISO 8601, as browsers send it."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def probability_of(text: str) -> float | None:
    """The probability that `text` is."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
