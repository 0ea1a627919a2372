"""Decodes images, within limits that are checked before a pixel is decoded.

An image becomes what a person sees of it: turned as its EXIF orientation says, and in front of
white where it is transparent. What has no single such picture is refused: several frames, and
colours that have no agreed form in RGB.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from mentorgrad.errors import Unsupported
from mentorgrad.installed import pip_line
from mentorgrad.tables.malformed import MalformedError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_IMAGE_PIXELS = 64 * 1024 * 1024
"""Maximum pixels of an image."""

MAX_ELONGATION = 100
"""Maximum ratio of an image's sides: encoders scale the shorter one up to their own size."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Others are not opened: some run programs."""

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
"""Modes of Pillow that can be written in RGB without a choice."""


def check_image(content: bytes) -> None:
    """Checks an image by its header.

    Raises:
        MalformedError: It cannot be used; the message says why.
        Unsupported: Pillow is not installed.
    """
    _opened(content).close()


def decoded_image(content: bytes) -> Image:
    """The image in RGB.

    Raises:
        MalformedError: It cannot be used, or its data are damaged.
        Unsupported: Pillow is not installed.
    """
    from PIL import Image, ImageOps

    with _opened(content) as image:
        try:
            upright: Any = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                white = Image.new("RGBA", upright.size, "white")
                white.alpha_composite(upright.convert("RGBA"))
                upright = white
            found: Image.Image = upright.convert("RGB")
        except Exception as error:  # damaged data can raise anything
            raise MalformedError("is damaged: it cannot be decoded") from error
    return found


def _opened(content: bytes) -> Image:
    """An image whose header is read, and allowed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise Unsupported(
            f"images need Pillow; run: {pip_line('trainer,images')}", reason="MISSING_EXTRA"
        ) from error
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
        frames = getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise MalformedError(_too_large("too many")) from None
    except Exception as error:  # an untrusted file can raise anything
        raise MalformedError(f"is no image in {', '.join(_FORMATS)}") from error
    try:
        _require_allowed(image, frames)
    except MalformedError:
        image.close()
        raise
    return image


def _require_allowed(image: Image, frames: int) -> None:
    pixels = image.width * image.height
    if pixels > MAX_IMAGE_PIXELS:
        raise MalformedError(_too_large(str(pixels)))
    long, wide = max(image.size), min(image.size)
    if long > MAX_ELONGATION * wide:
        raise MalformedError(
            f"is {long // max(wide, 1)} times as long as wide; the limit is {MAX_ELONGATION}"
        )
    if frames > 1 and image.format != "MPO":  # a photo with previews of itself
        raise MalformedError(f"has {frames} frames; save one of them")
    if image.mode.startswith(("I", "F")):
        raise MalformedError("has more than 8 bits per channel; convert it to 8 bits")
    if image.mode not in _MODES:
        raise MalformedError(f"has colours in {image.mode}; convert it to RGB")


def _too_large(pixels: str) -> str:
    return f"has {pixels} pixels; the limit is {MAX_IMAGE_PIXELS}"
