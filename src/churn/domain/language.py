"""The languages in which churn speaks of people."""

from enum import StrEnum


class Language(StrEnum):
    """An ISO 639-1 code. French is the default everywhere."""

    FR = "fr"
    EN = "en"
