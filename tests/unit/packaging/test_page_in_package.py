"""The built page in the package: whole, small, and fit for its content security policy."""

from __future__ import annotations

import gzip
import re

import pytest
from starlette.datastructures import Headers

from ui_service.app import built_page
from ui_service.page_files import PageFiles

pytestmark = pytest.mark.skipif(
    not (built_page() / "index.html").is_file(), reason="the page is not built: `make ui`"
)

LIMIT = 300 * 1024
"""Maximum size of all files together, compressed, bytes."""


def test_the_page_opens_from_the_package() -> None:
    pages = PageFiles(built_page())
    index = pages.response("/", Headers())
    assert index.status_code == 200
    html = bytes(index.body).decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert named
    for name in named:
        assert not re.match(r"[a-z]+:|//", name), "the page loads nothing from elsewhere"
        assert pages.response(name, Headers()).status_code == 200, name
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", html)


def test_the_page_is_small() -> None:
    total, folders = 0, [built_page()]
    while folders:
        for entry in folders.pop().iterdir():
            if entry.is_dir():
                folders.append(entry)
            else:
                total += len(gzip.compress(entry.read_bytes()))
    assert total < LIMIT
