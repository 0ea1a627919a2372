"""One peer of `bench.store_append`, run in the peers' environment: `peer_append.py NAME FOLDER`.

Prints its version. Then, for each number of points read from standard input, it records as many
points to SQLite and prints the points per second. A point is four scalars.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

SCALARS = ("train_loss", "learning_rate", "gradient_norm", "selection_loss")


def mlflow_recorder(folder: Path) -> tuple[str, Callable[[int], float]]:
    """`log_batch` with 1,000 metrics per call into MLflow's SQLAlchemy store."""
    import mlflow
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.sqlite'}")
    experiment = client.create_experiment("bench")

    def record(points: int) -> float:
        run = client.create_run(experiment).info.run_id
        metrics = [
            Metric(name, 1.0 / (step + 1), 1_700_000_000_000 + step, step)
            for step in range(points)
            for name in SCALARS
        ]
        started = time.perf_counter()
        for first in range(0, len(metrics), 1000):
            client.log_batch(run, metrics=metrics[first : first + 1000])
        return points / (time.perf_counter() - started)

    return mlflow.__version__, record


def optuna_recorder(folder: Path) -> tuple[str, Callable[[int], float]]:
    """Intermediate values of a trial in Optuna's RDB storage."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{folder / 'optuna.sqlite'}")

    def record(points: int) -> float:
        trial = study.ask()
        started = time.perf_counter()
        for step in range(points * len(SCALARS)):
            trial.report(1.0 / (step + 1), step)
        taken = time.perf_counter() - started
        study.tell(trial, 0.0)
        return points / taken

    return optuna.__version__, record


def main() -> None:
    """Measures once per line of standard input."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    version, record = {"mlflow": mlflow_recorder, "optuna": optuna_recorder}[name](folder)
    print(version, flush=True)
    for line in sys.stdin:
        print(record(int(line)), flush=True)


if __name__ == "__main__":
    main()
