"""A low-rank adapter of linear layers of a frozen encoder.

The weight of an adapted layer is W + alpha / rank B A (Hu et al., ICLR 2022). A starts random and
B at 0, so the encoder starts as it is.
"""

from __future__ import annotations

from mentorgrad.domain.spec import Lora
from trainer_service.encoding.encoders import TextEncoder
from trainer_service.objectives.adapters.build import build_adapter, reopen_adapter
from trainer_service.objectives.adapters.low_rank import LowRank, targeted_layers
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.lora import initial_folder
from trainer_service.objectives.lora.initial import start_from
from trainer_service.objectives.tuned import Tuned, TunedFiles
from trainer_service.protocols import Objective

PATH = "spec.objective.lora"
"""Path of the objective's fields in a request."""


def adapter_of(spec: Lora, encoder: TextEncoder) -> LowRank:
    """The adapter of an encoder.

    Raises:
        InvalidInput: A named layer does not exist, or the rank is beyond a layer's.
    """
    layers = targeted_layers(encoder, spec.target_modules, PATH)
    ranks = dict.fromkeys(layers, spec.rank)
    return LowRank(encoder, layers, ranks, spec.alpha / spec.rank, spec.encoder, f"{PATH}.rank")


def build(spec: Lora, inputs: BuildInputs) -> Objective:
    """Loads the encoder and tokenises the texts of the rows.

    Raises:
        InvalidInput: The encoder, the layers, the rank or `initial` cannot be used.
        Unsupported: peft is not installed.
    """
    encoder = inputs.encoder(spec.encoder)
    adapter = adapter_of(spec, encoder)
    folder = initial_folder(spec, inputs.model_roots, PATH)
    if folder is None:
        return build_adapter(spec, inputs, encoder, adapter)
    folder.require_model(encoder.digest)
    start = start_from(folder, adapter, inputs.rows.labels, spec.head_scale)
    return build_adapter(spec, inputs, encoder, adapter, start)


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the encoder, to predict; see `reopen_adapter`."""
    spec = files.spec(Lora)
    return reopen_adapter(files, inputs, spec, lambda encoder: adapter_of(spec, encoder))
