"""A low-rank adapter of linear layers of a frozen model.

The weight of an adapted layer is W + alpha / rank B A (Hu et al., ICLR 2022). A starts random and
B at 0, so the model starts as it is.

Settings may say how many of the `rank` directions, each a row of A and a column of B, steps train.
The others stay as they are, so that the weights go on from where they were.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mentorgrad.domain.objective import Lora
from mentorgrad.settings_space import Setting
from trainer_service.objectives.adapters.build import (
    adapted_model,
    build_adapter,
    reopen_adapter,
)
from trainer_service.objectives.adapters.language_model_inputs import model_of
from trainer_service.objectives.adapters.low_rank import A, B, LowRank, targeted_layers
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.lora import initial_folder
from trainer_service.objectives.lora.initial import start_from
from trainer_service.objectives.tuned import Tuned, TunedFiles
from trainer_service.protocols import Objective
from trainer_service.training_settings import TrainingSettings

PATH = "spec.objective.lora"
"""Path of the objective's fields in a request."""


TRAINED_RANK = "trained_rank"
"""Name of the setting."""


class RankedAdapter(LowRank):
    """Low-rank adapters of which settings say how much of the rank is trained.

    Args:
        spec: Rank, factor and layers.
        linear_layers: The model's linear layers by name.

    Raises:
        InvalidInput: A named layer does not exist, or the rank is beyond a layer's.
    """

    def __init__(self, spec: Lora, linear_layers: Mapping[str, nn.Module]) -> None:
        layers = targeted_layers(linear_layers, spec.target_modules, PATH)
        ranks, factor = dict.fromkeys(layers, spec.rank), spec.alpha / spec.rank
        super().__init__(layers, ranks, factor, model_of(spec), f"{PATH}.rank")
        self._rank = spec.rank
        powers = (2**power for power in range(spec.rank.bit_length()))
        self.settings = (
            Setting(
                TRAINED_RANK,
                tuple(sorted({*powers, spec.rank})),
                description="how many directions of each layer are trained",
                default=spec.rank,
            ),
        )

    def trains_part(self, settings: TrainingSettings) -> bool:
        """See `Adapter`."""
        return bool(settings.get(TRAINED_RANK, self._rank) < self._rank)

    def mask(self, step: int, settings: TrainingSettings, parts: Mapping[str, Tensor]) -> None:
        """See `Adapter`."""
        for name in self.ranks:
            parts[f"{name}.{A}"][: settings[TRAINED_RANK]] = True
            parts[f"{name}.{B}"][:, : settings[TRAINED_RANK]] = True


def build(spec: Lora, inputs: BuildInputs) -> Objective:
    """Loads the model and tokenises the texts of the rows.

    Raises:
        InvalidInput: The model, the layers, the rank or `initial` cannot be used.
        Unsupported: peft is not installed.
    """
    model = adapted_model(spec, inputs)
    adapter = RankedAdapter(spec, model.linear_layers)
    folder = initial_folder(spec, inputs.starts, PATH)
    if folder is None:
        return build_adapter(spec, inputs, model, adapter)
    folder.require_model(model.digest)
    start = start_from(folder, adapter, inputs.rows.labels, spec.head_scale)
    return build_adapter(spec, inputs, model, adapter, start)


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the model, to predict; see `reopen_adapter`."""
    spec = files.spec(Lora)
    return reopen_adapter(files, inputs, spec, lambda it: RankedAdapter(spec, it.linear_layers))
