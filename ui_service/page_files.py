"""The page's own files, read once and served with ETags."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

INDEX = "index.html"

NOT_BUILT = (
    "The files of the page are missing. In a clone of the repository, build them with `make ui`, "
    "and start the page again.\n"
)

_COMPRESSED = ("text/", "application/json", "image/svg")
_NO_CACHE = {"cache-control": "no-cache", "vary": "accept-encoding"}
"""A browser asks whether the file is still the same, as all keep their names when rebuilt."""


@dataclass(frozen=True)
class _File:
    """A file as it is sent."""

    kind: str
    """Media type."""
    etag: str
    """Names the content."""
    content: bytes
    """The bytes."""
    compressed: bytes | None
    """The same by gzip; None: that would not be smaller."""


class PageFiles:
    """Serves the files of a folder.

    Args:
        folder: The built page; one that does not exist is like an empty one.
    """

    def __init__(self, folder: Traversable) -> None:
        self._files = dict(_files(folder)) if folder.is_dir() else {}

    @property
    def is_built(self) -> bool:
        """Whether there is a page."""
        return INDEX in self._files

    def response(self, path: str, asked: Headers) -> Response:
        """The response to a request for a file.

        Args:
            path: The path of the address. One without a dot in its last part is a view of the page.
            asked: Headers of the request.
        """
        if not self.is_built:
            return PlainTextResponse(NOT_BUILT, 503)
        name = path.strip("/")
        if name not in self._files and "." not in name.rpartition("/")[2]:
            name = INDEX
        file = self._files.get(name)
        if file is None:
            return PlainTextResponse("There is no such file.\n", 404)
        headers = {**_NO_CACHE, "etag": file.etag}
        if file.etag in (tag.strip() for tag in asked.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        if file.compressed is not None and "gzip" in asked.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(file.compressed, headers=headers, media_type=file.kind)
        return Response(file.content, headers=headers, media_type=file.kind)


def _files(folder: Traversable, before: str = "") -> list[tuple[str, _File]]:
    found = []
    for entry in folder.iterdir():
        name = before + entry.name
        if entry.is_dir():
            found += _files(entry, f"{name}/")
        else:
            found.append((name, _file(name, entry.read_bytes())))
    return found


def _file(name: str, content: bytes) -> _File:
    # Not by the machine's own table, which may call a script text.
    kinds = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
    ending = name[name.rfind(".") :]
    kind = kinds.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    compressed = gzip.compress(content, mtime=0) if kind.startswith(_COMPRESSED) else content
    return _File(
        kind,
        f'W/"{hashlib.sha256(content).hexdigest()[:32]}"',
        content,
        compressed if len(compressed) < len(content) else None,
    )
