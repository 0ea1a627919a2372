"""Uploads of data files: receives the bytes of a file on disk, and stores it at once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import BinaryIO

import structlog

from mentorgrad.errors import DeadlineExceeded, InvalidInput, MentorgradError, ResourceExhausted
from mentorgrad.tables.records import FORMATS
from mentorgrad.uploads import DataUpload, check_size
from run_store.uploads import StoredUpload, UploadStore
from trainer_service.control_plane.thread_calls import run_to_completion

log = structlog.get_logger(__name__)

UPLOADS_AT_ONCE = 4
"""Maximum number of concurrent uploads."""

IDLE_SECONDS = 60.0
"""How long an upload waits for the next bytes."""

EXPIRE_SECONDS = 600.0
"""Interval at which unused files are looked for."""

UploadMessages = AsyncIterator[tuple[DataUpload | None, bytes]]
"""The messages of an upload: what is uploaded, in the first one only, and the next bytes."""


class Uploads:
    """Takes data files from clients, a few at a time, and deletes those that stay unused.

    The bytes wait in a temporary file without a name, which vanishes with the process, until all
    are there. So an upload that breaks off leaves nothing, and takes no memory.

    Args:
        store: The run store.
        max_bytes: Maximum size of a file.
        keep: How long a file is kept that no run uses.
    """

    def __init__(self, store: UploadStore, max_bytes: int, keep: timedelta) -> None:
        self._store = store
        self.max_bytes = max_bytes
        """Maximum size of a file."""
        self._keep = keep
        self._under_way = 0
        self._loop: asyncio.Task[None] | None = None

    async def take(self, store: UploadStore, parts: UploadMessages) -> StoredUpload:
        """Stores an uploaded file.

        Args:
            store: The run store, as the caller sees it.
            parts: The messages.

        Raises:
            InvalidInput: The file is too large, of an unknown format, or not as announced.
            AlreadyExists: The same bytes are in use with another suffix.
            ResourceExhausted: Too many uploads are in progress.
            DeadlineExceeded: The next bytes did not come in time.
        """
        if self._under_way >= UPLOADS_AT_ONCE:
            raise ResourceExhausted(
                f"{UPLOADS_AT_ONCE} files are being uploaded already; try again later",
                reason="UPLOADS_BUSY",
            )
        self._under_way += 1
        with contextlib.ExitStack() as held:
            held.callback(self._ended)
            file = held.enter_context(tempfile.TemporaryFile())
            stored = await self._receive(parts, file)
            file.seek(0)
            held = held.pop_all()
        # The thread reads the file even if the caller is gone.
        await run_to_completion(partial(store.put_upload, stored, file), held.close)
        return stored

    async def _receive(self, parts: UploadMessages, file: BinaryIO) -> StoredUpload:
        announced: DataUpload | None = None
        digest, size = hashlib.sha256(), 0

        def write(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        while (part := await _next(parts)) is not None:
            upload, chunk = part
            if announced is None:
                announced = self._checked(upload)
            elif upload is not None:
                raise InvalidInput.field("upload", "must be in the first message only")
            size += len(chunk)
            if size > announced.size_bytes:
                raise InvalidInput.field(
                    "chunk", f"goes beyond the announced size of {announced.size_bytes} bytes"
                )
            await asyncio.to_thread(write, chunk)
        if announced is None:
            raise InvalidInput.field("upload", "is required in the first message")
        if size < announced.size_bytes:
            raise InvalidInput.field(
                "chunk",
                f"the upload ended after {size} of {announced.size_bytes} bytes",
                reason="UPLOAD_INCOMPLETE",
            )
        found = digest.hexdigest()
        if announced.sha256 not in ("", found):
            raise InvalidInput.field(
                "upload.sha256",
                f"is {announced.sha256}, but the bytes have {found}; did the file change?",
                reason="UPLOAD_CHANGED",
            )
        return StoredUpload(found, announced.suffix, size)

    def _checked(self, upload: DataUpload | None) -> DataUpload:
        """What is uploaded, if it may be."""
        if upload is None:
            raise InvalidInput.field("upload", "is required in the first message")
        if upload.suffix not in FORMATS:
            raise InvalidInput.field("upload.suffix", f"must be one of: {', '.join(FORMATS)}")
        check_size(upload.size_bytes, self.max_bytes)
        return upload

    def _ended(self) -> None:
        self._under_way -= 1

    # -- unused files -------------------------------------------------------------------------

    def start(self) -> None:
        """Starts to look for unused files from time to time."""
        self._loop = asyncio.create_task(self._expire())

    async def close(self) -> None:
        """Stops looking for unused files."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    async def _expire(self) -> None:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(self._store.expire_uploads, self._keep))
            try:
                if gone := await asyncio.shield(step):
                    log.info("uploads_expired", files=gone)
            except asyncio.CancelledError:
                await asyncio.wait([step])  # the thread cannot be stopped, and it uses the store
                raise
            except MentorgradError as error:
                log.warning("uploads_retry", error=error.message)
            await asyncio.sleep(EXPIRE_SECONDS)


async def _next(parts: UploadMessages) -> tuple[DataUpload | None, bytes] | None:
    """The next message; None after the last one."""
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await anext(parts, None)
    except TimeoutError:
        raise DeadlineExceeded(f"the upload stood still for {IDLE_SECONDS:.0f} s") from None
