"""``python -m mentor_service serve``."""

from __future__ import annotations

from mentor_service.cli import app
from service_common.settings import run_app

if __name__ == "__main__":
    run_app(app, "python -m mentor_service")
