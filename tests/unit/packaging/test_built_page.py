"""The page's built files: made from the present source, small, needing nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support import page_fields

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "ui"
BUILT = ROOT / "ui_service/static"
MOST_BYTES = 300_000
"""Of all files together, compressed by gzip."""


class _Tags(HTMLParser):
    """Tags of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


@pytest.fixture(scope="module")
def tags() -> list[tuple[str, dict[str, str]]]:
    return _Tags((BUILT / "index.html").read_text("utf-8")).found


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_page_is_built_from_the_present_source(
    tags: list[tuple[str, dict[str, str]]],
) -> None:
    files = [SOURCE / name for name in ("index.html", "package-lock.json")]
    files += [SOURCE / name for name in ("source_digest.ts", "vite.config.ts")]
    for folder in ("public", "src"):
        files += [path for path in (SOURCE / folder).rglob("*") if path.is_file()]
    named = {path.relative_to(SOURCE).as_posix(): path for path in files}
    lines = (f"{name} {_hex(named[name].read_bytes())}\n" for name in sorted(named))
    digest = _hex("".join(lines).encode())
    said = next(
        attributes["content"] for _, attributes in tags if attributes.get("name") == "source"
    )
    assert said == digest, "the source has changed: run `make ui` and commit the built files"


def test_the_page_is_small() -> None:
    sizes = [len(gzip.compress(path.read_bytes())) for path in BUILT.rglob("*")]
    assert sum(sizes) < MOST_BYTES


def test_the_page_loads_its_own_files_alone(tags: list[tuple[str, dict[str, str]]]) -> None:
    loaded = [attributes.get("src") or attributes.get("href") for _, attributes in tags]
    own = {f"/{path.name}" for path in BUILT.iterdir()}
    assert {name for name in loaded if name} == own - {"/index.html"}
    scripts = [attributes for tag, attributes in tags if tag == "script"]
    assert all("src" in attributes for attributes in scripts)
    assert not any(tag == "style" or "style" in attributes for tag, attributes in tags)
    style = (BUILT / "page.css").read_text("utf-8")
    assert "@import" not in style
    assert not re.search(r"url\((?!data:)", style)


def test_the_lock_file_names_no_registry() -> None:
    locked = json.loads((SOURCE / "package-lock.json").read_text("utf-8"))["packages"]
    assert not [name for name, package in locked.items() if "resolved" in package]
    assert all("integrity" in package for name, package in locked.items() if name)


def test_the_page_knows_the_kinds_of_all_fields_of_a_spec() -> None:
    said = page_fields.FILE.read_text("utf-8")
    assert said == page_fields.text(), "run `python -m tests.support.page_fields`, then `make ui`"
