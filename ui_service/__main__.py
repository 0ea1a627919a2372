"""``python -m ui_service serve``."""

from __future__ import annotations

from service_common.settings import run_app
from ui_service.cli import app

if __name__ == "__main__":
    run_app(app, "python -m ui_service")
