"""The tensors of a folder of PEFT's, or of another run; see `peft_folder`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mentorgrad.errors import MentorgradError
from trainer_service import tensorfile
from trainer_service.objectives.peft_files import WEIGHTS_FILE
from trainer_service.objectives.peft_folder import PeftFolder
from trainer_service.objectives.torch_free import ARTIFACT


def adapter_tensors(folder: PeftFolder) -> dict[str, Tensor]:
    """The adapter's tensors by PEFT's names, float32, on the CPU.

    Raises:
        InvalidInput: The file is damaged.
    """
    return _read(folder, WEIGHTS_FILE)


def _read(folder: PeftFolder, name: str) -> dict[str, Tensor]:
    try:
        found, _ = tensorfile.load(folder.files.read(name))
    except (KeyError, MentorgradError, OSError):
        raise folder.refusal(f"has no readable {name}") from None
    return {name: tensor.float() for name, tensor in found.items()}


def prompt_of(folder: PeftFolder) -> Tensor:
    """A soft prompt: another run's, [tokens, width] or [classes, tokens, width], or PEFT's.

    Raises:
        InvalidInput: There is none.
    """
    if folder.document:
        found = _read(folder, ARTIFACT).get("prompt")
    else:
        found = adapter_tensors(folder).get("prompt_embeddings")
    if found is None or found.ndim < 2:
        raise folder.refusal("holds no soft prompt")
    return found


def head_of(folder: PeftFolder, labels: Sequence[str]) -> tuple[Tensor, Tensor] | None:
    """Weights [classes, hidden size] and biases of another run's head for the same labels; None if
    there is none."""
    has_weights = WEIGHTS_FILE in folder.files.names
    if not has_weights or tuple(folder.document.get("labels", ())) != tuple(labels):
        return None
    tensors = {name.rpartition("classifier.")[2]: t for name, t in adapter_tensors(folder).items()}
    if not {"weight", "bias"} <= tensors.keys():
        return None
    return tensors["weight"], tensors["bias"]
