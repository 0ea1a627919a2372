"""What of an upload reaches the store, and what leaves nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any, BinaryIO, cast

import pytest

from mentorgrad.errors import DeadlineExceeded, InvalidInput, ResourceExhausted
from mentorgrad.uploads import DataUpload
from run_store.uploads import StoredUpload, UploadStore
from trainer_service.control_plane import uploading
from trainer_service.control_plane.uploading import UPLOADS_AT_ONCE, Uploads

Part = tuple[DataUpload | None, bytes]

DATA = b"text,label\nx,1\n"
DIGEST = hashlib.sha256(DATA).hexdigest()
FILE = DataUpload(".csv", len(DATA), DIGEST)
GOOD: list[Part] = [(FILE, b""), (None, DATA[:5]), (None, DATA[5:])]


class Keeper:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.files: dict[StoredUpload, bytes] = {}
        self.asked: list[timedelta] = []
        self.looked = asyncio.Event()

    def put_upload(self, upload: StoredUpload, content: BinaryIO) -> None:
        self.files[upload] = content.read()

    def expire_uploads(self, unused_for: timedelta) -> int:
        self.asked.append(unused_for)
        return 0


class KeptUploads(Uploads):
    """Takes files into one store."""

    def __init__(self, store: Keeper, max_bytes: int) -> None:
        kept = cast(UploadStore, store)
        super().__init__(kept, max_bytes, timedelta(hours=2))
        self.keeps = partial(self.take, kept)


def uploads(store: Keeper, max_bytes: int = 1000) -> KeptUploads:
    return KeptUploads(store, max_bytes)


async def sending(*parts: Part, then: asyncio.Event | None = None) -> AsyncIterator[Part]:
    for part in parts:
        yield part
    if then is not None:
        await then.wait()


async def test_a_whole_file_is_stored() -> None:
    store = Keeper()
    stored = await uploads(store).keeps(sending(*GOOD))
    assert stored == StoredUpload(DIGEST, ".csv", len(DATA))
    assert store.files == {stored: DATA}
    unknown = DataUpload(".csv", len(DATA))
    assert await uploads(store).keeps(sending((unknown, DATA))) == stored


@pytest.mark.parametrize(
    ("parts", "field", "says"),
    [
        ([], "upload", "is required in the first message"),
        ([(None, DATA)], "upload", "is required in the first message"),
        ([(FILE, DATA), (FILE, b"")], "upload", "in the first message only"),
        ([(DataUpload(".exe", 5), b"")], "upload.suffix", "must be one of: .jsonl, .csv"),
        ([(DataUpload(".csv", 1001), b"")], "upload.size_bytes", "is 1001; must be at most 1000"),
        ([(FILE, DATA + b"more")], "chunk", "goes beyond the announced size of 15 bytes"),
        ([(FILE, DATA[:7])], "chunk", "ended after 7 of 15 bytes"),
        ([(DataUpload(".csv", 4, "0" * 64), b"abcd")], "upload.sha256", "did the file change"),
    ],
)
async def test_other_files_are_refused_and_leave_nothing(
    parts: list[Part], field: str, says: str
) -> None:
    store = Keeper()
    with pytest.raises(InvalidInput, match=says) as caught:
        await uploads(store).keeps(sending(*parts))
    assert caught.value.violations[0].field == field
    assert store.files == {}


async def test_an_upload_that_breaks_off_leaves_nothing_and_frees_its_place() -> None:
    store, held = Keeper(), asyncio.Event()
    taking = uploads(store)
    begun = [
        asyncio.create_task(taking.keeps(sending(*GOOD[:2], then=held)))
        for _ in range(UPLOADS_AT_ONCE)
    ]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as caught:
        await taking.keeps(sending(*GOOD))
    assert caught.value.reason == "UPLOADS_BUSY"
    for task in begun:
        task.cancel()
    await asyncio.wait(begun)
    assert store.files == {}
    await taking.keeps(sending(*GOOD))
    assert len(store.files) == 1


async def test_an_upload_that_stands_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "IDLE_SECONDS", 0.0)
    store = Keeper()
    with pytest.raises(DeadlineExceeded, match="stood still"):
        await uploads(store).keeps(sending(then=asyncio.Event()))
    assert store.files == {}


async def test_unused_files_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Keeper()
    looked = asyncio.Event()

    async def slept(seconds: float) -> None:
        looked.set()
        await asyncio.Event().wait()

    housekeeping = uploads(store)
    stand_in: Any = type("Asyncio", (), {**vars(asyncio), "sleep": staticmethod(slept)})
    monkeypatch.setattr(uploading, "asyncio", stand_in)
    housekeeping.start()
    await looked.wait()
    await housekeeping.close()
    assert store.asked == [timedelta(hours=2)]
