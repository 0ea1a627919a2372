"""Run by `campaigns.trackers` in the trackers' environment: `read_back FOLDER`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mentorgrad.integrations.tracking import Mirror, open_tracker
from tests.support.toy_run import toy_log

Read = dict[str, Any]
"""The train losses by step, the figures at the end, the texts, the number of parameters and the
number of runs."""

HPARAMS = "_hparams_/session_start_info"


def main() -> None:
    folder = Path(sys.argv[1])
    found = {}
    for kind, read in READERS.items():
        place = folder / kind
        for _ in range(2):  # the second one replaces the first
            mirror = Mirror(open_tracker(kind, place))
            for event in toy_log():
                mirror.add(event)
            mirror.close()
        found[kind] = read(place)
        check(kind, found[kind])
    counted = {
        kind: {
            name: len(part) if isinstance(part, (dict, list)) else part
            for name, part in read.items()
        }
        for kind, read in found.items()
    }
    print(json.dumps({"counts": counted, "versions": {kind: version(kind) for kind in READERS}}))


def check(kind: str, found: Read) -> None:
    first = {step: 1 / step for step in range(1, 6)}
    second = {step + 4: 1 / step for step in range(6, 11)}  # behind a race of four steps
    assert found["losses"].keys() == (first | second).keys(), (kind, found["losses"])
    for step, loss in (first | second).items():
        assert abs(found["losses"][step] - loss) < 1e-6, (kind, step)
    assert abs(found["figures"]["test/accuracy"] - 0.8) < 1e-6, kind
    assert abs(found["figures"]["baselines/linear_probe/loss"] - 0.3) < 1e-6, kind
    assert "stage 1: restart from s0/p0" in found["texts"], (kind, found["texts"])
    assert "kind words" in found["texts"], kind
    assert found["parameters"] > 40, kind
    assert found["runs"] == 1, kind


def of_tensorboard(place: Path) -> Read:
    from tensorboard.backend.event_processing.event_accumulator import TENSORS
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.util.tensor_util import make_ndarray

    runs = EventMultiplexer(size_guidance={TENSORS: 0}).AddRunsFromDirectory(str(place)).Reload()
    (run,) = runs.Runs()
    values: dict[str, dict[int, Any]] = defaultdict(dict)
    for tag in set(runs.Runs()[run]["tensors"]) - {HPARAMS}:
        for event in runs.Tensors(run, tag):
            values[tag][event.step] = make_ndarray(event.tensor_proto).item()
    about = runs.SummaryMetadata(run, HPARAMS).plugin_data.content
    return {
        "losses": values["train/loss"],
        "figures": {tag: list(steps.values())[-1] for tag, steps in values.items() if "/" in tag},
        "texts": [
            values[tag][step].decode() for tag in ("restart", "prompt") for step in values[tag]
        ],
        "parameters": len(HParamsPluginData.FromString(about).session_start_info.hparams),
        "runs": len(list(place.rglob("*tfevents*"))),
    }


def of_mlflow(place: Path) -> Read:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    experiment = client.get_experiment_by_name("mentorgrad")
    runs = client.search_runs([experiment.experiment_id])
    data, run_id = runs[0].data, runs[0].info.run_id
    assert runs[0].info.status == "FINISHED"
    return {
        "losses": {m.step: m.value for m in client.get_metric_history(run_id, "train/loss")},
        "figures": data.metrics,
        "texts": list(data.tags.values()),
        "parameters": len(data.params),
        "runs": len(runs),
    }


def of_wandb(place: Path) -> Read:
    import wandb

    wandb.teardown()  # a finished run is written to the file a moment later
    rows, parameters = [], 0
    files = list(place.glob("wandb/offline-run-*/*.wandb"))
    for record in _wandb_records(files[0]):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in items})
        elif record.WhichOneof("record_type") == "run":
            parameters = len(record.run.config.update)
    figures = {name: value for row in rows for name, value in row.items()}
    return {
        "losses": {r["gradient_steps"]: r["train/loss"] for r in rows if "train/loss" in r},
        "figures": figures,
        "texts": [value for row in rows for value in row.values() if isinstance(value, str)],
        "parameters": parameters,
        "runs": len(files),
    }


def _wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline file, which has the form of LevelDB's log behind seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, block = file.read_bytes(), 32 * 1024
    at, whole = 7, b""
    while at + 7 < len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


READERS: dict[str, Callable[[Path], Read]] = {
    "tensorboard": of_tensorboard,
    "mlflow": of_mlflow,
    "wandb": of_wandb,
}

if __name__ == "__main__":
    main()
