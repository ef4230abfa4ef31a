"""The bundle on disk: what is in it, who trusts it, how it is read and how it is written.

`models/<version>/` holds `model.joblib`, `manifest.json` and `CARD.md`. `models/ACTIVE` names the version
served by default. `models/TRUSTED` lists the manifests that may be loaded, in the format of `sha256sum`.

joblib is pickle, and unpickling runs code: nothing is unpickled unless its digest is the manifest's and
the manifest's digest is trusted. Every file is read once, and what was hashed is what is used.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final

import joblib
import msgspec
import numpy as np
from msgspec import Struct

from churn.adapters.joblib_model.additive import AdditiveClassifier
from churn.domain.employee import FEATURES
from churn.domain.errors import ModelUnavailable
from churn.domain.manifest import VERSION_PATTERN, Manifest

MODEL: Final = "model.joblib"
MANIFEST: Final = "manifest.json"
CARD: Final = "CARD.md"
ACTIVE: Final = "ACTIVE"
TRUSTED: Final = "TRUSTED"

#: Largest difference from the manifest's probabilities that another build of numpy may cause.
GOLDEN_TOLERANCE: Final = 1e-9


class Bundle(Struct, frozen=True):
    """A model that was verified and loaded."""

    manifest: Manifest
    manifest_sha256: str
    estimator: Any
    """A scikit-learn classifier of the classes 0 and 1."""


def list_versions(models_dir: Path) -> list[str]:
    """The versions in `models_dir`, oldest name first; whether they load is another question."""
    return sorted(path.parent.name for path in models_dir.glob(f"*/{MANIFEST}") if _is_version(path.parent.name))


def active_version(models_dir: Path) -> str:
    """The version that `models_dir` says is served by default.

    Raises:
        ModelUnavailable: it names none.
    """
    try:
        return (models_dir / ACTIVE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelUnavailable(f"{models_dir / ACTIVE} cannot be read: no model is active") from error


def trusted_manifests(models_dir: Path, configured: str = "") -> frozenset[str]:
    """The sha256 digests of the manifests that may be loaded.

    Args:
        models_dir: folder whose `TRUSTED` file counts when nothing is configured.
        configured: digests in hexadecimal, separated by commas.
    """
    if configured.strip():
        return frozenset(digest.strip().lower() for digest in configured.split(",") if digest.strip())
    try:
        lines = (models_dir / TRUSTED).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    return frozenset(line.split()[0] for line in lines if line.strip() and not line.startswith("#"))


def read_manifest(models_dir: Path, version: str) -> tuple[Manifest, str]:
    """The manifest of `version` and the sha256 of its bytes; says nothing of whether it is trusted.

    Raises:
        ModelUnavailable: there is none, or it is not one that this release can read.
    """
    if not _is_version(version):
        raise ModelUnavailable("a model version has 1 to 64 letters, digits or . _ -")
    content = _read(models_dir / version / MANIFEST, version)
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelUnavailable(f"model {version}: its manifest cannot be read by this release: {error}") from error
    if manifest.version != version:
        raise ModelUnavailable(f"model {version}: its manifest is that of {manifest.version}")
    return manifest, hashlib.sha256(content).hexdigest()


def load_bundle(models_dir: Path, version: str, *, trusted: frozenset[str]) -> Bundle:
    """The model `version`, verified and loaded.

    Args:
        models_dir: folder of the bundles.
        version: name of the bundle's folder.
        trusted: sha256 digests of the manifests that may be loaded.

    Raises:
        ModelUnavailable: it is missing, tampered with, untrusted, made for other features or another
            scikit-learn, or does not give the probabilities that its manifest promises.
    """
    manifest, digest = read_manifest(models_dir, version)
    if digest not in trusted:
        raise ModelUnavailable(f"model {version}: its manifest is not among the trusted ones")
    _check_fit(manifest)
    content = _read(models_dir / version / MODEL, version)
    if hashlib.sha256(content).hexdigest() != manifest.model_sha256:
        raise ModelUnavailable(f"model {version}: {MODEL} is not the file that its manifest describes")
    try:
        estimator = joblib.load(io.BytesIO(content))
        probabilities = estimator.predict_proba(np.array(manifest.golden.rows))[:, 1]
    except Exception as error:
        # A pickle, and a foreign estimator, can raise anything.
        raise ModelUnavailable(f"model {version}: it cannot be loaded here: {type(error).__name__}") from error
    if list(estimator.classes_) != [0, 1]:
        raise ModelUnavailable(f"model {version}: its classes are not 0 and 1")
    if not np.allclose(probabilities, manifest.golden.probabilities, rtol=0, atol=GOLDEN_TOLERANCE):
        raise ModelUnavailable(f"model {version}: it does not give the probabilities that its manifest promises")
    return Bundle(manifest, digest, estimator)


def write_bundle(
    models_dir: Path, manifest: Manifest, *, model: bytes, documents: Mapping[str, bytes], activate: bool
) -> str:
    """Write a new version, durably and whole or not at all; trust it, and make it the default if asked.

    Args:
        models_dir: folder of the bundles; created if it is missing.
        manifest: whose `model_sha256` is that of `model`.
        model: the bytes of `model.joblib`.
        documents: further files by name, as the card.
        activate: whether `ACTIVE` is to name the new version.

    Returns:
        The sha256 of the manifest.

    Raises:
        FileExistsError: the version exists.
    """
    models_dir.mkdir(parents=True, exist_ok=True)
    target = models_dir / manifest.version
    if target.exists():
        raise FileExistsError(f"{target} exists")
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    # A name with a leading dot is no version: a half-written folder that a crash leaves is never served.
    folder = Path(tempfile.mkdtemp(prefix=f".{manifest.version}.", dir=models_dir))
    try:
        for name, data in {MODEL: model, MANIFEST: content, **documents}.items():
            _write_durably(folder / name, data)
        folder.chmod(0o755)
        _sync(folder)
        folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _sync(models_dir)
    digest = hashlib.sha256(content).hexdigest()
    _trust(models_dir, digest, manifest.version)
    if activate:
        _replace(models_dir / ACTIVE, f"{manifest.version}\n".encode())
    return digest


def dump_model(estimator: object) -> bytes:
    """The bytes of `model.joblib` for a fitted scikit-learn classifier."""
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer, compress=("zlib", 9))
    return buffer.getvalue()


def _is_version(name: str) -> bool:
    return re.fullmatch(VERSION_PATTERN, name) is not None


def _read(path: Path, version: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(f"model {version}: {path.name} cannot be read") from error


def _check_fit(manifest: Manifest) -> None:
    names = tuple(feature.name for feature in manifest.features)
    if names != FEATURES:
        raise ModelUnavailable(f"model {manifest.version}: it takes other features than this release sends")
    if any(len(row) != len(FEATURES) for row in manifest.golden.rows):
        raise ModelUnavailable(f"model {manifest.version}: its golden rows have another shape than its features")
    # Our tables are plain arrays, good for a whole major series; the inner life of a scikit-learn
    # estimator is only promised to be readable by the release that pickled it.
    parts = 1 if manifest.estimator == AdditiveClassifier.__name__ else 2
    theirs, ours = manifest.libraries.get("scikit-learn", ""), installed_version("scikit-learn")
    if theirs.split(".")[:parts] != ours.split(".")[:parts]:
        raise ModelUnavailable(f"model {manifest.version}: it needs scikit-learn {theirs or 'of an unknown version'}")


def _trust(models_dir: Path, digest: str, version: str) -> None:
    path = models_dir / TRUSTED
    before = path.read_bytes() if path.exists() else b""
    _replace(path, before + f"{digest}  {version}/{MANIFEST}\n".encode())


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write_durably(temporary, data)
    temporary.replace(path)
    _sync(path.parent)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
