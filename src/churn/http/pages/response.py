"""An HTML page, and what it allows the browser to do."""

from collections.abc import Mapping
from typing import Final

from litestar import MediaType, Response

# The Space of Hugging Face shows the service in a frame of its own page. Nothing on a public page acts with
# rights that its visitor already has, so a frame can steal nothing.
_NOTHING: Final = {
    "default-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'self' https://huggingface.co",
}


def public_page(
    content: str | bytes, allowed: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> Response[str | bytes]:
    """The page `content` under a Content-Security-Policy that forbids everything but what is `allowed`.

    Args:
        content: The HTML.
        allowed: Sources by directive of the policy.
        headers: Further response headers.
    """
    policy = _NOTHING | dict(allowed)
    return Response(
        content,
        media_type=MediaType.HTML,
        headers={
            "cache-control": "no-cache",
            "content-security-policy": "; ".join(f"{directive} {sources}" for directive, sources in policy.items()),
            "referrer-policy": "no-referrer",
            **(headers or {}),
        },
    )
