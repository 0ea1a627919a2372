"""The page's own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.datastructures import Headers

from ui_service.page_files import PageFiles

SCRIPT = "let answer = 42;\n" * 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/app.js").write_text(SCRIPT)
    (tmp_path / "icon.png").write_bytes(b"\x89PNG")
    return tmp_path


def test_files_have_their_types(folder: Path) -> None:
    files = PageFiles(folder)
    for path, kind in {
        "/": "text/html; charset=utf-8",
        "/assets/app.js": "text/javascript; charset=utf-8",
        "/icon.png": "image/png",
        "/runs/01abc": "text/html; charset=utf-8",
    }.items():
        response = files.response(path, Headers())
        assert (response.status_code, response.headers["content-type"]) == (200, kind)
        assert response.headers["cache-control"] == "no-cache"


def test_an_unchanged_file_is_not_sent_again(folder: Path) -> None:
    files = PageFiles(folder)
    etag = files.response("/assets/app.js", Headers()).headers["etag"]
    again = files.response("/assets/app.js", Headers({"if-none-match": f'"x", {etag}'}))
    assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", etag)
    (folder / "assets/app.js").write_text("let answer = 43;")
    changed = PageFiles(folder).response("/assets/app.js", Headers({"if-none-match": etag}))
    assert changed.status_code == 200


def test_a_browser_that_can_gets_less(folder: Path) -> None:
    files = PageFiles(folder)
    small = files.response("/assets/app.js", Headers({"accept-encoding": "br, gzip"}))
    assert small.headers["content-encoding"] == "gzip"
    assert len(small.body) < len(SCRIPT)
    assert files.response("/assets/app.js", Headers()).body == SCRIPT.encode()


@pytest.mark.parametrize("path", ["/nothing.js", "/assets/../../secret.txt", "/assets/no.css"])
def test_other_files_are_not_there(folder: Path, path: str) -> None:
    (folder.parent / "secret.txt").write_text("a secret")
    assert PageFiles(folder).response(path, Headers()).status_code == 404


@pytest.mark.parametrize("exists", [True, False])
def test_a_page_that_is_not_built_says_how(tmp_path: Path, exists: bool) -> None:
    files = PageFiles(tmp_path if exists else tmp_path / "missing")
    response = files.response("/", Headers())
    assert (files.is_built, response.status_code) == (False, 503)
    assert b"make ui" in response.body
