"""Which linear layers an adapter changes. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mentorgrad.errors import InvalidInput
from trainer_service.encoding.weight_files import weight_headers

TOO_HIGH = "RANK_TOO_HIGH"
"""Error reason: a rank is beyond what there is room for."""

DEFAULT_TARGETS = (
    *(("query", "value"), ("q_lin", "v_lin"), ("query_proj", "value_proj")),
    *(("q_proj", "v_proj"), ("q", "v"), ("Wqkv",), ("qkv_proj",)),
    *(("query_key_value",), ("c_attn",)),
)
"""Ends of the names of query and value projections, by architecture; the first that a model has."""


def is_adaptable(name: str) -> bool:
    """Whether a linear layer changes hidden states: heads and a pooler read them, and tables of
    embeddings are no layers."""
    return not re.search(
        r"(^|\.)(pooler|cls|classifier|lm_head|wte|wpe)(\.|$)|embedding|embed_", name
    )


def target_names(names: Collection[str], wanted: Sequence[str], path: str) -> list[str]:
    """The linear layers that a spec names, in the model's order.

    Args:
        names: Names of the model's linear layers.
        wanted: The spec's `target_modules`.
        path: Path of the objective's fields in the request.

    Raises:
        InvalidInput: One of them names no layer (reason NO_SUCH_MODULE).
    """
    known = [name for name in names if is_adaptable(name)]
    field = f"{path}.target_modules"

    def missing(ends: Sequence[str]) -> list[str]:
        return [end for end in ends if not any(_ends(name, end) for name in known)]

    ends = tuple(wanted) or next((e for e in DEFAULT_TARGETS if not missing(e)), ())
    if not ends:
        raise InvalidInput.field(
            field,
            f"must name linear layers: the model has no known query and value projections, but "
            f"{_kinds(known)}",
            reason="NO_SUCH_MODULE",
        )
    if absent := missing(ends):
        raise InvalidInput.field(
            field,
            f"the model has no linear layer {', '.join(absent)}; it has {_kinds(known)}",
            reason="NO_SUCH_MODULE",
        )
    return [name for name in known if any(_ends(name, end) for end in ends)]


def _ends(name: str, end: str) -> bool:
    return f".{name}".endswith(f".{end}")


def _kinds(names: Collection[str]) -> str:
    """The ends of the names, for people."""
    ends = dict.fromkeys(name.rpartition(".")[2] for name in names)
    return ", ".join(list(ends)[:20]) or "none"


def layer_of(name: str) -> str:
    """The layer that a module belongs to: its name up to the first number."""
    found = re.match(r"(?:.*?\.)?\d+(?=\.|$)", name)
    return found.group() if found else name


def weight_shapes(folder: Path) -> dict[str, tuple[int, int]]:
    """Shape [out, in] of each matrix of a model by its module, from the headers of its files.

    The names may begin with the name of the model in a larger one (``bert.``).
    """
    shapes: dict[str, tuple[int, int]] = {}
    for header in weight_headers(folder):
        for name, entry in header.items():
            module, _, kind = name.rpartition(".")
            if kind == "weight" and len(entry["shape"]) == 2:
                rows, columns = entry["shape"]
                shapes[module] = rows, columns
    return shapes


def require_rank(rank: int, shapes: Mapping[str, Sequence[int]], field: str) -> None:
    """Checks that a rank does not exceed that of the layers.

    Raises:
        InvalidInput: It does (reason RANK_TOO_HIGH).
    """
    for name, shape in shapes.items():
        if rank > min(shape):
            raise InvalidInput.field(
                field,
                f"{rank} is beyond the rank of {name}, a matrix of {shape[0]} x {shape[1]}: at "
                f"most {min(shape)}",
                reason=TOO_HIGH,
            )
