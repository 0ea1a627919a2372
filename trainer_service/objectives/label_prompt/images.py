"""The images of a run's rows, checked before the run and decoded within it; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mentorgrad.errors import InvalidInput
from mentorgrad.tables.malformed import MalformedError
from trainer_service.encoding.image_decoding import check_image, decoded_image
from trainer_service.objectives.kinds import CheckInputs
from trainer_service.tasks.data import Split, TaskData
from trainer_service.tasks.images import EncodedImage

if TYPE_CHECKING:
    from PIL.Image import Image

UNUSABLE = "IMAGE_UNUSABLE"
"""Error reason: an image cannot be decoded, or has a form that is refused."""


def check_images(inputs: CheckInputs) -> None:
    """Adds a violation if images cannot be used, as far as their headers tell; or if a mentor is to
    be shown rows that are images."""
    if inputs.task is None or not inputs.task.has_images:
        return
    wrong = list(_wrong(inputs.task))
    if wrong:
        more = f" ({len(wrong)} images in all)" if len(wrong) > 1 else ""
        inputs.findings.add("spec.task", f"{wrong[0]}{more}", UNUSABLE)
    if inputs.run.mentor.exemplars:
        inputs.findings.add("spec.mentor.exemplars", "must be 0: the rows are images")


def _wrong(task: TaskData) -> Iterator[str]:
    for split in Split:
        for index, row in enumerate(task.rows(split)):
            if row.image is None:
                continue
            try:
                check_image(row.image.read())
            except MalformedError as error:
                yield _said(row.image, index, split, error)


def image_loader(images: Sequence[EncodedImage], split: Split) -> Callable[[int], Image]:
    """Index of an image → the image, in RGB.

    The function raises `InvalidInput` for an image that cannot be used (reason IMAGE_UNUSABLE).
    """

    def load(index: int) -> Image:
        image = images[index]
        try:
            return decoded_image(image.read())
        except MalformedError as error:
            said = _said(image, index, split, error)
            raise InvalidInput.field("spec.task", said, reason=UNUSABLE) from error

    return load


def _said(image: EncodedImage, index: int, split: Split, error: MalformedError) -> str:
    what = f"an image that cannot be used: {image.name} {error}"
    return f"row {index + 1} of {split.value} is {what}"
