"""Style sheets, scripts and pictures, under addresses that change with their content."""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

_OURS: Final = Path(__file__).parent / "static"
#: What `hatch_build.py` brought from npm, compressed already.
_THEIRS: Final = Path(__file__).parents[1] / "assets"
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class _Asset(NamedTuple):
    digest: str
    gzipped: bytes
    media_type: str


@cache
def _assets() -> dict[str, _Asset]:
    """Every asset by its name. All of them together take two megabytes: memory is the simplest place."""
    if not _THEIRS.is_dir():
        raise RuntimeError("the browser assets are missing: `make install` (or any pip install of churn) brings them")
    gzipped = {path.name: gzip.compress(path.read_bytes(), mtime=0) for path in _OURS.iterdir()}
    gzipped |= {path.stem: path.read_bytes() for path in _THEIRS.glob("*.gz")}
    return {
        name: _Asset(hashlib.sha256(content).hexdigest()[:16], content, _MEDIA_TYPES[Path(name).suffix])
        for name, content in gzipped.items()
    }


def asset_url(name: str) -> str:
    """The address of the asset `name`, for good: another content has another address."""
    return f"/assets/{_assets()[name].digest}/{name}"


@get(
    "/assets/{digest:str}/{name:str}",
    include_in_schema=False,
    opt={"exclude_from_auth": True},
    sync_to_thread=False,
)
def serve_asset(request: Request[object, object, Any], digest: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """The asset, which a browser needs to ask for once only."""
    asset = _assets().get(name)
    if asset is None or asset.digest != digest:
        raise NotFoundException
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "vary": "Accept-Encoding",
    }
    content = asset.gzipped
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
    else:
        content = gzip.decompress(content)
    return Response(content, media_type=asset.media_type, headers=headers)
