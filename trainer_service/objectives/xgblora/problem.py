"""A sum of rank-1 adapters of a frozen model, trained one after the other (XGBLoRA).

Each booster adapts a few layers, drawn with the run's seed, by alpha b a with vectors a and b for
each target module. For `booster_steps` steps it and the head are trained; then it is fixed, and the
next one begins, with b = 0 and fresh moments. What has not begun contributes nothing, so the whole
stack is one parameter: of each module the boosters that adapt it, as rows of A and columns of B.
The sum is a low-rank adapter.

Settings may name the layers that are adapted from then on. A booster then has room for every layer,
and what it does not train there stays b = 0, without effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from mentorgrad.domain.objective import Xgblora
from mentorgrad.errors import InvalidInput
from mentorgrad.settings_space import Setting
from trainer_service.objectives.adapters.build import (
    AdaptedModel,
    adapted_model,
    build_adapter,
    reopen_adapter,
)
from trainer_service.objectives.adapters.language_model_inputs import model_of
from trainer_service.objectives.adapters.layout import FlatLayout
from trainer_service.objectives.adapters.low_rank import (
    A,
    B,
    LowRank,
    targeted_layers,
    uniform,
)
from trainer_service.objectives.adapters.targets import layer_of
from trainer_service.objectives.build import BuildInputs
from trainer_service.objectives.tuned import Tuned, TunedFiles
from trainer_service.protocols import Objective
from trainer_service.seeds import derive, generator
from trainer_service.training_settings import TrainingSettings, proposes_settings

PATH = "spec.objective.xgblora"
"""Path of the objective's fields in a request."""

LAYERS = "layers"
"""Name of the setting."""


class Boosters(LowRank):
    """A stack of rank-1 adapters.

    Args:
        spec: Steps of a booster, factor.
        layers: The target modules by name.
        drawn: The modules of each booster, in the order of training.
        is_open: Whether settings say which layers the boosters adapt from then on: each then has
            room for all of them.
    """

    def __init__(
        self,
        spec: Xgblora,
        layers: Mapping[str, nn.Module],
        drawn: Sequence[Sequence[str]],
        is_open: bool = False,
    ) -> None:
        counts: Counter[str] = Counter()
        self._slots: list[dict[str, int]] = []
        for modules in [list(layers)] * len(drawn) if is_open else drawn:
            self._slots.append({name: counts[name] for name in modules})
            counts.update(modules)
        adapted = {name: layer for name, layer in layers.items() if counts[name]}
        ranks = {name: counts[name] for name in adapted}
        super().__init__(adapted, ranks, spec.alpha, model_of(spec), f"{PATH}.boosters")
        self._steps, self._drawn = spec.booster_steps, drawn
        self._by_layer = modules_by_layer(layers)
        if is_open:
            self.settings = (
                Setting(
                    LAYERS,
                    tuple(self._by_layer),
                    count=spec.layers,
                    description="layers that boosters adapt from now on",
                ),
            )

    def draw(self, parts: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Draws A as `LowRank` does, with the same numbers for the drawn modules of a booster
        whether it has room for others or not."""
        others = torch.Generator().manual_seed(derive(generator.initial_seed(), "other layers"))
        for name in self._layers:
            part = parts[f"{name}.{A}"]
            part.copy_(uniform(part.shape, others))
            own = [slots[name] for slots, drawn in self._turns if name in drawn]
            part[own] = uniform((len(own), part.shape[1]), generator)

    @property
    def _turns(self) -> Iterator[tuple[dict[str, int], Sequence[str]]]:
        return zip(self._slots, self._drawn, strict=True)

    def turn(self, step: int) -> int:
        """See `Adapter`: the number of the booster."""
        return min(step // self._steps, len(self._slots) - 1)

    def trains_part(self, settings: TrainingSettings) -> bool:
        """See `Adapter`."""
        return True

    def mask(self, step: int, settings: TrainingSettings, parts: Mapping[str, Tensor]) -> None:
        """See `Adapter`."""
        turn = self.turn(step)
        chosen = [name for layer in settings.get(LAYERS, ()) for name in self._by_layer[layer]]
        for name in chosen or self._drawn[turn]:
            slot = self._slots[turn][name]
            parts[f"{name}.{A}"][slot] = True
            parts[f"{name}.{B}"][:, slot] = True


def modules_by_layer(names: Iterable[str]) -> dict[int, list[str]]:
    """The modules of each layer, by its number."""
    by_layer: dict[str, list[str]] = {}
    for name in names:
        by_layer.setdefault(layer_of(name), []).append(name)
    numbers = [layer.rpartition(".")[2] for layer in by_layer]
    if len({*numbers}) < len(numbers) or not all(map(str.isdecimal, numbers)):
        return dict(enumerate(by_layer.values()))  # several stacks of layers, or none
    return dict(zip(map(int, numbers), by_layer.values(), strict=True))


def draw_modules(spec: Xgblora, names: Iterable[str], seed: int) -> list[list[str]]:
    """The modules of each booster: those of layers that are drawn without repetition.

    Raises:
        InvalidInput: There are fewer layers.
    """
    layers = list(modules_by_layer(names).values())
    if spec.layers > len(layers):
        raise InvalidInput.field(
            f"{PATH}.layers", f"must be at most {len(layers)}, the layers to draw"
        )
    random = generator(seed, "boosters")
    chosen = [
        sorted(torch.randperm(len(layers), generator=random)[: spec.layers].tolist())
        for _ in range(spec.boosters)
    ]
    return [[name for index in of_booster for name in layers[index]] for of_booster in chosen]


def build(spec: Xgblora, inputs: BuildInputs) -> Objective:
    """Loads the model and tokenises the texts of the rows.

    Raises:
        InvalidInput: The model or the layers cannot be used.
        Unsupported: peft is not installed.
    """
    model = adapted_model(spec, inputs)
    layers = targeted_layers(model.linear_layers, spec.target_modules, PATH)
    drawn = draw_modules(spec, layers, inputs.run.seed)
    is_open = proposes_settings(inputs.run.mentor)
    return build_adapter(spec, inputs, model, Boosters(spec, layers, drawn, is_open))


def reopen(files: TunedFiles, inputs: BuildInputs) -> Tuned:
    """Loads the model, to predict with the sum; see `reopen_adapter`."""
    spec = files.spec(Xgblora)
    layout = FlatLayout.of_document(files.document["layout"])
    ranks = {part.section: part.shape[0] for part in layout.parts if part.name.endswith(f".{A}")}

    def total(model: AdaptedModel) -> LowRank:
        known = model.linear_layers
        layers = {name: known[name] for name in ranks}
        return LowRank(layers, ranks, spec.alpha, model_of(spec), f"{PATH}.boosters")

    return reopen_adapter(files, inputs, spec, total)
