"""Which images are decoded, and as what; the others are refused by name before their pixels are."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from mentorgrad.tables.malformed import MalformedError
from trainer_service.encoding import image_decoding
from trainer_service.encoding.image_decoding import check_image, decoded_image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str = "RGB", colour: Any = (200, 10, 10), size: tuple[int, int] = (4, 4)) -> Any:
    return Image.new(mode, size, colour)


def huge(width: int, height: int) -> bytes:
    """A PNG of some 60 bytes that says it is large."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + b"\0\0\0\0IEND\xaeB`\x82"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no image in PNG, JPEG"),
        (b"text", "is no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is no image"),
        (encoded(plain())[:20], "is no image"),
        (encoded(plain("I;16", 40_000)), "more than 8 bits"),
        (encoded(plain("F", 0.5), "TIFF"), "more than 8 bits"),
        (encoded(plain("CMYK", (0, 0, 0, 0)), "JPEG"), "has colours in CMYK; convert it to RGB"),
        (encoded(plain("LAB", (0, 0, 0)), "TIFF"), "has colours in LAB"),
        (
            encoded(plain(), "GIF", save_all=True, append_images=[plain(colour=(1, 2, 3))]),
            "has 2 frames",
        ),
        (huge(9_000, 9_000), "has 81000000 pixels; the limit is 67108864"),
        (huge(10_000, 10_000), "pixels; the limit is 67108864"),
        (huge(60_000, 60_000), "too many pixels; the limit is 67108864"),
        (encoded(plain(size=(1, 101))), "is 101 times as long as wide; the limit is 100"),
        (huge(60_000_000, 1), "is 60000000 times as long as wide"),
    ],
)
def test_what_is_refused_by_its_header(content: bytes, what: str) -> None:
    for act in (check_image, decoded_image):
        with pytest.raises(MalformedError, match=what):
            act(content)


def test_damaged_data_are_found_when_they_are_decoded() -> None:
    noise = Image.effect_noise((32, 32), 90.0)
    for kind in ("PNG", "JPEG"):
        content = encoded(noise, kind)[:-200]
        check_image(content)
        with pytest.raises(MalformedError, match="is damaged"):
            decoded_image(content)


@pytest.mark.parametrize(
    ("image", "kind", "seen"),
    [
        (plain(), "PNG", (200, 10, 10)),
        (plain(), "BMP", (200, 10, 10)),
        (plain("L", 77), "PNG", (77, 77, 77)),
        (plain("1", 1), "PNG", (255, 255, 255)),
        (plain().convert("P"), "GIF", (204, 0, 0)),
        (plain("RGBA", (200, 10, 10, 255)), "PNG", (200, 10, 10)),
        (plain("RGBA", (200, 10, 10, 0)), "PNG", (255, 255, 255)),
        (plain("LA", (0, 51)), "PNG", (204, 204, 204)),
    ],
)
def test_others_are_what_they_look_like_on_white(
    image: Image.Image, kind: str, seen: tuple[int, int, int]
) -> None:
    found = decoded_image(encoded(image, kind))
    assert found.mode == "RGB"
    assert all(abs(a - b) <= 5 for a, b in zip(found.getpixel((1, 1)), seen, strict=True))  # type: ignore[arg-type]


def test_a_photo_is_turned_as_it_was_taken() -> None:
    photo = plain(size=(2, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned
    assert decoded_image(encoded(photo, "JPEG", exif=exif)).size == (4, 2)


def test_a_photo_with_previews_of_itself_has_one_picture() -> None:
    photo = plain(size=(16, 16))
    content = encoded(photo, "MPO", save_all=True, append_images=[plain(size=(4, 4))])
    assert decoded_image(content).size == (16, 16)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from mentorgrad.errors import Unsupported

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(Unsupported, match=r"trainer,images"):
        image_decoding.check_image(b"")
