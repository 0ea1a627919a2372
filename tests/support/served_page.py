"""The page's service in the test's own loop, on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources.abc import Traversable
from typing import Any

from prometheus_client import CollectorRegistry

from mentorgrad.async_client import AsyncClient
from ui_service.composition import UiServer, acting_by, predicting_by, protect_page
from ui_service.settings import UiSecrets, UiSettings, trainer_credentials


@asynccontextmanager
async def served_page(
    trainer: str,
    folder: Traversable | None = None,
    registry: CollectorRegistry | None = None,
    **settings: Any,
) -> AsyncIterator[str]:
    """A page of a trainer; yields its address with the scheme.

    Args:
        trainer: Address of the trainer.
        folder: The built page; None: the one of the package.
        registry: Registry of its metrics.
        **settings: Settings of the page; without `listen` it takes any free port.
    """
    chosen = UiSettings(**({"listen": "127.0.0.1:0", "server": trainer} | settings))
    credentials = trainer_credentials(chosen, UiSecrets())
    async with (
        AsyncClient(trainer, resume_for=0.1, credentials=credentials) as client,
        predicting_by(chosen, credentials) as predicting,
    ):
        security = protect_page(chosen)
        acting = acting_by(client, chosen, security, credentials)
        ui = UiServer(client, chosen, security, registry, folder, acting, predicting)
        address = await ui.start()
        try:
            yield f"{'http' if chosen.tls_certificate is None else 'https'}://{address}"
        finally:
            await ui.stop()
