"""Real images: handwritten digits of scikit-learn, as PNG files in a folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = ("rain", "sun")
"""Folder names: of zeros and of ones. Words that a tiny model knows."""


def write_digits(folder: Path, begin: int, count: int, words: Sequence[str] = WORDS) -> Path:
    """Writes images of 8 by 8 pixels.

    Args:
        folder: Where to.
        begin: Number of the first image of each class.
        count: Images per class.
        words: Folder names, of zeros, of ones and so on.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label, word in enumerate(words):
        (folder / word).mkdir(parents=True)
        images = digits.images[digits.target == label][begin : begin + count]
        for number, pixels in enumerate(images, start=begin):
            grey = (pixels * 255 / 16).round().astype(np.uint8)
            Image.fromarray(grey).save(folder / word / f"{number:03}.png")
    return folder
