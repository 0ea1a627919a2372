"""Request messages from the arguments of a client's methods, which users fill by hand."""

from __future__ import annotations

from typing import Any, TypeVar

from mentorgrad.errors import InvalidInput

R = TypeVar("R")


def request_of(cls: type[R], **fields: Any) -> R:
    """Makes a request message.

    Args:
        cls: Class of the message.
        **fields: Its fields.

    Raises:
        InvalidInput: A value is not of its field's type, or half of a surrogate pair is in a text;
            the violation names the field.
    """
    try:
        return cls(**fields)
    except (TypeError, ValueError):  # UnicodeEncodeError is one of these
        for name, value in fields.items():
            _check(cls, name, value)
        raise


def _check(cls: Any, name: str, value: Any) -> None:
    try:
        cls(**{name: value})
    except UnicodeEncodeError:
        said = "must not contain half of a surrogate pair"
    except (TypeError, ValueError):
        said = f"must be of another type than {type(value).__name__}"
    else:
        return
    raise InvalidInput.field(name, said)
