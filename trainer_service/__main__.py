"""Entry point of ``python -m trainer_service serve ...``."""

from __future__ import annotations

import sys

from mentorgrad.errors import InvalidInput, MentorgradError
from trainer_service.cli import app


def main() -> None:
    """Runs the command line. An error prints one line; exit code 2 for invalid input, else 1."""
    try:
        app(prog_name="python -m trainer_service")
    except MentorgradError as error:
        sys.stderr.write(f"error: {' '.join(error.message.split())}\n")
        sys.exit(2 if isinstance(error, InvalidInput) else 1)


if __name__ == "__main__":
    main()
