"""gRPC status codes that each method may return. The reference lists them; fuzz tests check them.

`INTERNAL` and `UNKNOWN` are not listed: a service that returns one of them has a bug.
"""

from __future__ import annotations

from grpc import StatusCode

ANY = (
    StatusCode.OK,
    StatusCode.INVALID_ARGUMENT,
    StatusCode.RESOURCE_EXHAUSTED,
    StatusCode.UNAUTHENTICATED,
    StatusCode.PERMISSION_DENIED,
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.CANCELLED,
)
"""Codes that every method may return."""

_STORE = (StatusCode.DATA_LOSS,)
_A_RUN = (StatusCode.NOT_FOUND, *_STORE)
_KEPT = (StatusCode.ALREADY_EXISTS, StatusCode.FAILED_PRECONDITION, *_STORE)
_CREATED = (*_KEPT, StatusCode.UNIMPLEMENTED)
_STEERED = (*_A_RUN, StatusCode.FAILED_PRECONDITION, StatusCode.ABORTED)

SPECIFIC: dict[str, tuple[StatusCode, ...]] = {
    "/mentorgrad.v1.TrainerService/CreateRun": _CREATED,
    "/mentorgrad.v1.TrainerService/CancelRun": _STEERED,
    "/mentorgrad.v1.TrainerService/FinishRun": _STEERED,
    "/mentorgrad.v1.TrainerService/PauseRun": _STEERED,
    "/mentorgrad.v1.TrainerService/ResumeRun": _STEERED,
    "/mentorgrad.v1.TrainerService/UpdateRun": _A_RUN,
    "/mentorgrad.v1.TrainerService/DeleteRun": _STEERED,
    "/mentorgrad.v1.TrainerService/ImportRun": _KEPT,
    "/mentorgrad.v1.TrainerService/UploadData": _KEPT,
    "/mentorgrad.v1.TrainerService/DownloadArtifact": _A_RUN,
    "/mentorgrad.v1.TrainerService/GetTrainerInfo": _STORE,
    "/mentorgrad.v1.HistoryService/GetRun": _A_RUN,
    "/mentorgrad.v1.HistoryService/ListRuns": _STORE,
    "/mentorgrad.v1.HistoryService/StreamEvents": _A_RUN,
    "/mentorgrad.v1.HistoryService/GetTrajectory": _A_RUN,
    "/mentorgrad.v1.HistoryService/ListCandidates": _A_RUN,
    "/mentorgrad.v1.HistoryService/CompareRuns": _A_RUN,
    "/mentorgrad.v1.HistoryService/ListArtifacts": _A_RUN,
    "/mentorgrad.v1.HistoryService/ExportRun": _A_RUN,
    "/mentorgrad.v1.HistoryService/ListAudit": _STORE,
    "/mentorgrad.v1.HistoryService/ListWorkers": _STORE,
    "/mentorgrad.v1.ExperimentService/CreateExperiment": _CREATED,
    "/mentorgrad.v1.ExperimentService/GetExperiment": _A_RUN,
    "/mentorgrad.v1.ExperimentService/ListExperiments": _STORE,
    "/mentorgrad.v1.ExperimentService/CancelExperiment": _STEERED,
    "/mentorgrad.v1.ExperimentService/GetReport": _A_RUN,
    "/mentorgrad.v1.MentorService/Advise": (),
    "/mentorgrad.v1.MentorService/Propose": (),
    "/mentorgrad.v1.MentorService/GetMentorInfo": (),
    "/mentorgrad.v1.PredictService/Predict": (),
    "/mentorgrad.v1.PredictService/PredictStream": (),
    "/mentorgrad.v1.PredictService/GetPredictorInfo": (),
}
"""``/package.Service/Method`` → its codes in addition to `ANY`."""
