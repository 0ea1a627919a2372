"""The error tree: what can go wrong, in the words of the domain.

    MentorgradError
    ├── InvalidInput          something the caller sent is wrong; `violations` name the fields
    ├── NotFound              no such run, artifact, mentor, ...
    ├── AlreadyExists         the name or id is taken by something else
    ├── PreconditionFailed    the state forbids it (a transition, an unfinished run)
    ├── Conflict              somebody else wrote first (stale attempt, unexpected seq)
    ├── Unauthenticated       the caller has not proved who it is (no token, or none that counts)
    ├── PermissionDenied      who the caller is does not suffice for this call
    ├── ResourceExhausted     a queue or a limit is full; try again later
    ├── Unavailable           a service, store or model cannot be reached; try again later
    │   └── Untrusted         the other side's certificate, or ours, is not accepted
    ├── DeadlineExceeded      the caller's time ran out
    ├── Cancelled             the caller gave up
    ├── DataLoss              stored bytes do not match their digest
    ├── Unsupported           a known request that this installation cannot serve
    └── InternalError         a defect of ours; says nothing of its inside to a client

Each class carries a stable `reason` (UPPER_SNAKE, sent as google.rpc.ErrorInfo) and says whether
the same call may succeed later. The table from class to gRPC status is
`mentorgrad.wire.error_mapping`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One field that is wrong."""

    field: str
    """Full path from the request's root, for example ``spec.optimizer.learning_rate``."""
    description: str
    """What is wrong and what would be right, in one sentence."""

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class MentorgradError(Exception):
    """Base of every error that crosses a module boundary.

    Args:
        message: One readable line, safe to show to a remote client.
        reason: Overrides the class's stable UPPER_SNAKE reason.
        metadata: Further machine-readable facts (strings only).
    """

    reason = "INTERNAL"
    retryable = False

    def __init__(
        self, message: str, *, reason: str | None = None, metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason
        self.metadata = dict(metadata or {})


class InvalidInput(MentorgradError):
    """What the caller sent is wrong. `violations` say which field and what would be right."""

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
        """The common case of one wrong field."""
        return cls(violations=[Violation(path, description)], reason=reason)


class NotFound(MentorgradError):
    """There is no such thing."""

    reason = "NOT_FOUND"


class AlreadyExists(MentorgradError):
    """The name or id is taken by something else."""

    reason = "ALREADY_EXISTS"


class PreconditionFailed(MentorgradError):
    """The present state forbids the call."""

    reason = "PRECONDITION_FAILED"


class Conflict(MentorgradError):
    """Another writer was first: the attempt is stale or the expected seq is not the last one."""

    reason = "CONFLICT"


class Unauthenticated(MentorgradError):
    """The caller sent no token, or one that does not count (any more)."""

    reason = "TOKEN_MISSING"


class PermissionDenied(MentorgradError):
    """The caller is known, and may not make this call."""

    reason = "SCOPE_MISSING"


class ResourceExhausted(MentorgradError):
    """A queue or a limit is full. `retry_after` is a hint in seconds."""

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
    """A service, store or model cannot be reached now."""

    reason = "UNAVAILABLE"
    retryable = True


class Untrusted(Unavailable):
    """No secure connection: a certificate is not accepted, which waiting does not change."""

    reason = "UNTRUSTED"
    retryable = False


class DeadlineExceeded(MentorgradError):
    """The caller's time ran out before the work was done."""

    reason = "DEADLINE_EXCEEDED"
    retryable = True


class Cancelled(MentorgradError):
    """The caller gave the call up."""

    reason = "CANCELLED"


class DataLoss(MentorgradError):
    """Stored bytes do not match their digest."""

    reason = "DATA_LOSS"


class Unsupported(MentorgradError):
    """This installation cannot serve the request (a missing extra, a method not built in)."""

    reason = "UNSUPPORTED"


class InternalError(MentorgradError):
    """A defect of ours."""

    reason = "INTERNAL"
