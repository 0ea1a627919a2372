"""Files of a run on this machine: what the other side cannot do to a folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.async_client import AsyncClient
from mentorgrad.cli.commands import transfer
from mentorgrad.domain.run import Artifact
from mentorgrad.errors import DataLoss
from mentorgrad.v1 import run_pb2
from mentorgrad.v1 import trainer_service_pb2 as pb

Invoke = Callable[..., Any]


class Server:
    """Has a run with these files."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def get_run(self, run_id: str) -> None:
        return None

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        return tuple(Artifact(name, 3) for name in self.names)

    def read_artifact(self, run_id: str, name: str) -> bytes:
        return b"abc"


@pytest.fixture
def download(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr(transfer.short_ids, "run_id", lambda reader, run_id: run_id)

    def run(*names: str, force: bool = False) -> Any:
        @contextlib.contextmanager
        def opened(*_: str) -> Iterator[Server]:
            yield Server(*names)

        monkeypatch.setattr(transfer, "open_reader", opened)
        more = ["--force"] if force else []
        target = str(tmp_path / "into")
        return invoke("runs", "download", "x", "--into", target, "--store", "sqlite:///x", *more)

    return run


def test_files_that_are_there_are_replaced_on_request_only(
    download: Callable[..., Any], tmp_path: Path
) -> None:
    assert download("a", "b").exit_code == 0
    assert {path.name for path in (tmp_path / "into").iterdir()} == {"a", "b"}
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "into/b").unlink()
    (tmp_path / "into/b").symlink_to(outside)
    (tmp_path / "into/a").write_text("mine")
    refused = download("a", "b")
    assert refused.exit_code == 2
    assert "add --force to replace it" in refused.stderr
    refused = download("new", "b")
    assert refused.exit_code == 2
    assert not (tmp_path / "into/new").exists()
    assert (tmp_path / "into/a").read_text() == "mine"
    assert download("a", "b", force=True).exit_code == 0
    assert (tmp_path / "into/a").read_text() == (tmp_path / "into/b").read_text() == "abc"
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("name", [".bashrc", "..", ".", "", "../up", "down/below", "/etc/x"])
def test_a_name_that_is_no_plain_one_is_refused(
    download: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    for force in (False, True):
        refused = download("a", name, force=force)
        assert refused.exit_code == 2
        assert "no plain name" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("announced", "given", "limit"), [(5, None, 5), (10, 7, 7), (None, None, 20), (None, 6, 6)]
)
async def test_a_file_has_at_most_the_size_that_was_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    announced: int | None,
    given: int | None,
    limit: int,
) -> None:
    sent = 0

    async def endless(*_: Any) -> AsyncIterator[pb.DownloadArtifactResponse]:
        nonlocal sent
        first = None if announced is None else run_pb2.Artifact(name="a", size_bytes=announced)
        while sent < 100:
            sent += 1
            yield pb.DownloadArtifactResponse(artifact=first, chunk=b"x")
            first = None

    monkeypatch.setattr("mentorgrad.async_client._MAX_FILE_BYTES", 20)
    async with AsyncClient("127.0.0.1:1") as client:
        monkeypatch.setattr(client, "_transfer", endless)
        with pytest.raises(DataLoss, match=f"more than {limit} bytes"):
            await client.download("x", "a", tmp_path / "a", given)
    assert sent == limit + 1
    assert list(tmp_path.iterdir()) == []
