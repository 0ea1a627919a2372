"""The exception classes of the SDK and the services.

    MentorgradError
    ├── InvalidInput          the caller's input is invalid; `violations` name the fields
    ├── NotFound              the run, artifact, mentor, ... does not exist
    ├── AlreadyExists         the name or id is already in use
    ├── PreconditionFailed    the state forbids the call (a transition, an unfinished run)
    ├── Conflict              another writer was first (stale attempt, unexpected seq)
    ├── Unauthenticated       the call carries no token, or an invalid one
    ├── PermissionDenied      the caller's token lacks the scope for this call
    ├── ResourceExhausted     a queue is full or a limit is reached; try again later
    ├── Unavailable           a service, store or model cannot be reached; try again later
    │   └── Untrusted         the server's or the client's certificate is not accepted
    ├── DeadlineExceeded      the call's deadline has passed
    ├── Cancelled             the caller cancelled the call
    ├── DataLoss              stored bytes do not match their digest
    ├── Unsupported           this installation cannot serve the request
    └── InternalError         a bug; no details are sent to the client

Each class has a stable `reason` (UPPER_SNAKE, sent as google.rpc.ErrorInfo) and a flag `retryable`:
whether the same call may succeed later. `mentorgrad.wire.error_mapping` maps each class to a gRPC
status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One invalid field."""

    field: str
    """Full path from the root of the request, for example ``spec.optimizer.learning_rate``."""
    description: str
    """What is wrong and which values are valid, in one sentence."""

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class MentorgradError(Exception):
    """Base of every error that crosses a module boundary.

    Args:
        message: One line that is safe to show to a remote client.
        reason: Overrides the class's stable UPPER_SNAKE reason.
        metadata: Further machine-readable details (strings only).
    """

    reason = "INTERNAL"
    retryable = False
    told: MentorgradError | None = None
    """What a remote caller gets instead, where the message is for the operator's log."""

    def __init__(
        self, message: str, *, reason: str | None = None, metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = dict(metadata or {})


class InvalidInput(MentorgradError):
    """The caller's input is invalid. `violations` name the fields and the valid values."""

    reason = "INVALID_INPUT"

    def __init__(
        self,
        message: str = "",
        *,
        violations: Iterable[Violation] = (),
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        self.violations = tuple(violations)
        text = message or "; ".join(str(violation) for violation in self.violations)
        super().__init__(text or "invalid input", reason=reason, metadata=metadata)

    @classmethod
    def field(cls, path: str, description: str, *, reason: str | None = None) -> InvalidInput:
        """An error for a single invalid field."""
        return cls(violations=[Violation(path, description)], reason=reason)


class NotFound(MentorgradError):
    """The requested object does not exist."""

    reason = "NOT_FOUND"


class AlreadyExists(MentorgradError):
    """The name or id is already in use."""

    reason = "ALREADY_EXISTS"


class PreconditionFailed(MentorgradError):
    """The current state forbids the call."""

    reason = "PRECONDITION_FAILED"


class Conflict(MentorgradError):
    """Another writer was first: the attempt is stale or the expected seq is not the last one."""

    reason = "CONFLICT"


class Unauthenticated(MentorgradError):
    """The caller sent no token, or a token that is unknown, expired or revoked."""

    reason = "TOKEN_MISSING"


class PermissionDenied(MentorgradError):
    """The caller's token is valid but does not permit this call."""

    reason = "SCOPE_MISSING"


class ResourceExhausted(MentorgradError):
    """A queue is full or a limit is reached. `retry_after` is a hint, in seconds."""

    reason = "RESOURCE_EXHAUSTED"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        retry_after: float = 1.0,
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class Unavailable(MentorgradError):
    """A service, store or model cannot be reached at the moment."""

    reason = "UNAVAILABLE"
    retryable = True


class Untrusted(Unavailable):
    """The TLS connection failed because a certificate is not accepted; retrying does not help."""

    reason = "UNTRUSTED"
    retryable = False


class DeadlineExceeded(MentorgradError):
    """The deadline of the call passed before it was complete."""

    reason = "DEADLINE_EXCEEDED"
    retryable = True


class Cancelled(MentorgradError):
    """The caller cancelled the call."""

    reason = "CANCELLED"


class DataLoss(MentorgradError):
    """Stored bytes do not match their digest."""

    reason = "DATA_LOSS"


class Unsupported(MentorgradError):
    """This installation cannot serve the request (a missing extra, an unimplemented method)."""

    reason = "UNSUPPORTED"


class InternalError(MentorgradError):
    """A bug in the service or the SDK."""

    reason = "INTERNAL"
