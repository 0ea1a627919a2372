"""Where a tune runs: on which machine, with which mentor, and how its data gets there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mentorgrad.cli.support.data_uploads import upload_file
from mentorgrad.cli.support.local_services import has_gpu, local_services
from mentorgrad.cli.support.output import Output
from mentorgrad.cli.support.processes import cores, divide_cores
from mentorgrad.cli.support.service_access import open_client
from mentorgrad.domain.spec import CONTROLS, DataFiles
from mentorgrad.errors import MentorgradError
from mentorgrad.installed import installed_version
from mentorgrad.tables import Table, TableColumns, write_splits
from mentorgrad.tune.folder import TuneFolder
from mentorgrad.tune.plan import UNKNOWN_WEIGHTS, Machine

if TYPE_CHECKING:
    from mentorgrad.client import Client
    from mentorgrad.responses import TrainerInfo

DEFAULT = "default"
"""Name of the mentor that is started, or that a trainer has."""

NONE = "none"

_WEIGHT_BYTES = {".gguf": 0.6, ".safetensors": 2.0}
"""Bytes per weight that are usual in model files: quantised to four bits, and half precision."""

_LONGEST_NAME = 100
"""Characters of a column's name in a spec."""


@dataclass(frozen=True)
class TunePlace:
    """Where to run."""

    server: str = ""
    """Address of a trainer; empty: services are started."""
    model_roots: tuple[Path, ...] = ()
    """Folders of models that a path names."""
    mentor_model: str = ""
    """LLM of the mentor that is started; empty: the embedded default."""


def look(place: TunePlace, mentor: str) -> tuple[Machine, str, bool]:
    """The machine of the run, the name of its mentor, and whether `prompt_tuning` can be executed.

    Args:
        place: Where to run.
        mentor: Name that was asked for; empty: the default mentor if there is one.

    Raises:
        Unavailable: The trainer does not answer.
    """
    if place.server:
        with open_client(place.server, "leave --server out, to start services") as client:
            info = client.trainer_info()
        is_gpu = any(device.startswith("cuda") for device in info.devices)
        return Machine(is_gpu, cores()), mentor or _offered(info), True
    named = mentor or (DEFAULT if place.mentor_model or _has_mentor() else NONE)
    return Machine(has_gpu(), threads(named)), named, installed_version("peft") is not None


def _offered(info: TrainerInfo) -> str:
    return next((one.name for one in info.mentors if one.name == DEFAULT and one.available), NONE)


def _has_mentor() -> bool:
    from mentorgrad import model_refs

    has_model = any(model.role == "mentor" and model.installed for model in model_refs.known())
    return has_model and installed_version("llama-cpp-python") is not None


def threads(mentor: str) -> int:
    """Threads of a worker on this machine, beside its mentor."""
    return cores() if mentor in CONTROLS else divide_cores(cores())[1]


def weights_of(reference: str, roots: Sequence[Path]) -> float:
    """Rough number of weights of a model, by the size of its files."""
    from mentorgrad import model_refs

    try:
        path = model_refs.resolve(reference, roots=roots or None)
    except MentorgradError:
        return UNKNOWN_WEIGHTS
    files = [path] if path.is_file() else [*path.rglob("*.safetensors"), *path.rglob("*.gguf")]
    weights = sum(file.stat().st_size / _WEIGHT_BYTES.get(file.suffix, 2.0) for file in files)
    return weights or UNKNOWN_WEIGHTS


@contextlib.contextmanager
def opened(place: TunePlace, folder: TuneFolder, mentor: str, out: Output) -> Iterator[Client]:
    """A client of the trainer, which is started with the data of the folder if none is named."""
    from mentorgrad.client import Client

    if place.server:
        with open_client(place.server, "leave --server out, to start services") as client:
            yield client
        return
    _data(folder).mkdir(exist_ok=True)
    flags = ["--data-root", str(_data(folder).absolute())]
    for root in place.model_roots:
        flags += ["--model-root", str(root.absolute())]
    with (
        local_services(
            out,
            (folder.private / "services").absolute(),
            [] if mentor in CONTROLS else [mentor],
            workers=1,
            threads=threads(mentor),
            model=place.mentor_model or None,
            trainer_flags=flags,
        ) as address,
        Client(address) as client,
    ):
        yield client


def _data(folder: TuneFolder) -> Path:
    return folder.private / "data"


def split_file(folder: TuneFolder, split: str) -> Path:
    """The rows of a split, as they were given to the trainer."""
    return _data(folder) / f"{split}.jsonl"


def give_data(table: Table, client: Client, place: TunePlace, folder: TuneFolder) -> DataFiles:
    """Writes the splits where the trainer can read them, and names them as a spec does: a trainer
    elsewhere gets them by upload.

    Raises:
        InvalidInput: The table has changed since it was read, or a file is larger than the trainer
            allows.
    """
    columns = table.columns
    named = TableColumns(columns.text, columns.label, columns.pair)
    if max(map(len, named.needed)) > _LONGEST_NAME or len(set(named.needed)) < len(named.needed):
        named = TableColumns("text", "label", "pair" if columns.pair else "")
    files = [file.path for file in write_splits(table, _data(folder), named)]
    train, selection, test = (
        upload_file(client, file, file.name) if place.server else file.name for file in files
    )
    return DataFiles(train, selection, test, named.text, named.pair, named.label)
