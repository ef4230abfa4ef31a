"""The audit trail, for admins."""

from collections.abc import Mapping

from litestar import Controller, Response, get
from litestar.di import NamedDependency

from churn.domain.account import Role
from churn.http.console.page import ConsoleRequest, page
from churn.http.console.reading import uuid_of
from churn.http.console.words import TEXTS, Formats
from churn.http.language import chosen_language
from churn.ports import AuditTrail

#: Entries of a page.
_PAGE = 50
_LARGEST = 2**63 - 1


class AuditController(Controller):
    """Look at who did what; nobody can change it."""

    path = "/audit"
    opt = {"role": Role.ADMIN}

    @get()
    async def find(self, request: ConsoleRequest, trail: NamedDependency[AuditTrail]) -> Response[str]:
        """A page of the trail, newest first."""
        text = request.query_params.get("before", "")
        before = int(text) if text.isascii() and text.isdigit() and 0 < len(text) < len(str(_LARGEST)) else None
        # One more than a page has tells whether there is a next one.
        found = await trail.page(before=before, limit=_PAGE + 1)
        entries = found[:_PAGE]
        formats = Formats(chosen_language(request))
        texts = TEXTS[formats.language]["audit"]
        return page(
            request,
            "audit.html",
            "audit",
            # A later release, beside which this one may run for a while, may have added an action.
            entries=[
                (
                    entry,
                    texts.get(entry.action.replace("-", "_"), entry.action),
                    uuid_of(entry.subject or ""),
                    _details(formats, entry.details),
                )
                for entry in entries
            ],
            first=before is not None,
            older=entries[-1].number if len(found) > _PAGE else None,
        )


def _details(formats: Formats, details: Mapping[str, str | int | bool]) -> list[tuple[str, str]]:
    """Names and values in the reader's language, as far as this release knows them."""
    texts = TEXTS[formats.language]["audit_details"]

    def words(value: str | int | bool) -> str:
        if isinstance(value, bool):
            return texts[str(value).lower()]
        return formats.number(value) if isinstance(value, int) else texts.get(value, value)

    return [(texts.get(name, name), words(value)) for name, value in details.items()]
