"""Creates a run, watches it and takes its trajectory."""

from pathlib import Path

import mentorgrad
from mentorgrad import (
    Client,
    Credentials,
    EventQuery,
    InvalidInput,
    LabelPrompt,
    MentorChoice,
    MentorgradError,
    RestartDecided,
    RunSpec,
    Segment,
    Stages,
    Task,
    plots,
    presets,
)


def spec_of(labels: tuple[str, ...]) -> RunSpec:
    return RunSpec(
        objective=LabelPrompt(n_tokens=8),
        task=Task("tickets", labels=labels),
        stages=Stages(count=4),
        mentor=MentorChoice("default", proposals=8),
        seed=1,
    )


def tune(address: str, spec: RunSpec, folder: Path) -> float | None:
    credentials: Credentials = Credentials.from_environment()
    with Client(address, credentials=credentials) as client:
        run_id = client.create_run(spec).run.run_id
        for event in client.watch(run_id):
            payload = event.payload
            if isinstance(payload, Segment):
                print(payload.step_end, [snapshot.train_loss for snapshot in payload.snapshots])
            elif isinstance(payload, RestartDecided):
                print([branch.loss_after for branch in payload.branches])
        path = client.trajectory(run_id)
        if path.parameters is not None:
            print(path.parameters.shape, path.parameters.dtype)
        plots.loss_curves([plots.curve(client, run_id)], folder / "loss.png")
        for event in client.events(run_id, EventQuery(effective=True)):
            print(event.seq, event.kind.value)
        usage = client.get_run(run_id).usage
        print(mentorgrad.__version__, usage)
        result = client.get_run(run_id).result
        return result.test.loss if result is not None and result.test is not None else None


def tune_as_released(address: str) -> None:
    try:
        tune(address, presets.preset("maao_released"), Path())
    except InvalidInput as error:
        for violation in error.violations:
            print(violation.field, violation.description)
    except MentorgradError as error:
        print(error.reason)
