"""``python -m trainer_service.prediction serve RESULT``."""

from __future__ import annotations

from service_common.settings import run_app
from trainer_service.prediction.cli import app

if __name__ == "__main__":
    run_app(app, "python -m trainer_service.prediction")
