"""Model references; see `mentorgrad.model_refs`."""

from mentorgrad.domain.objective import DEFAULT_ENCODER
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, known, resolve

__all__ = ["DEFAULT_ENCODER", "DEFAULT_MENTOR_MODEL", "known", "resolve"]
