"""The messages of the protocol, without the SDK's classes."""

from mentorgrad.v1 import run_pb2


def queued(name: str) -> run_pb2.Run:
    spec = run_pb2.RunSpec(seed=7, labels={"name": name})
    return run_pb2.Run(run_id="one", spec=spec, state=run_pb2.RUN_STATE_QUEUED)
