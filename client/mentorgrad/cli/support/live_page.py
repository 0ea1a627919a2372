"""The page of a command's own run, and a browser on it: `mentorgrad tune --open`."""

from __future__ import annotations

import contextlib
import os
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from mentorgrad.cli.support.auth_options import credentials
from mentorgrad.cli.support.extras import require_extras
from mentorgrad.cli.support.local_services import ANYWHERE
from mentorgrad.cli.support.output import Output, note
from mentorgrad.cli.support.processes import Services
from mentorgrad.cli.support.service_flags import flags
from mentorgrad.errors import InvalidInput, Unsupported


def check_page() -> None:
    """Checks that the page can be served.

    Raises:
        InvalidInput: The extra is not installed; says what to install.
    """
    try:
        require_extras("--open", ("ui",), "ui")
    except Unsupported as error:
        raise InvalidInput(error.message, reason=error.reason) from None


class LivePage:
    """A page that is served by a process of its own.

    Args:
        address: ``HOST:PORT``.
        services: The process.
        out: Output to use.
    """

    def __init__(self, address: str, services: Services, out: Output) -> None:
        self._url = f"http://{address}"
        self._services, self._out = services, out

    def show(self, run_id: str) -> None:
        """Says where a run is shown, and opens it in a browser."""
        url = f"{self._url}/runs/{run_id}"
        self._out.line(f"the page of the run: {url}")
        if not _open(url):
            self._out.line("no browser could be opened; open the address yourself")

    def wait(self) -> None:
        """Returns after Ctrl-C.

        Raises:
            Unavailable: The page's service exited.
        """
        note(f"the page stays at {self._url} until Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            self._services.wait()


@contextlib.contextmanager
def live_page(server: str, is_local: bool, log: Path, out: Output) -> Iterator[LivePage]:
    """Serves the page of a trainer on a free loopback port until the block exits.

    Args:
        server: Address of the trainer.
        is_local: Whether the trainer is the command's own; another one gets the credentials that
            the command was given.
        log: File for what the page's service says.
        out: Output to use.

    Raises:
        Unavailable: The page's service does not start.
    """
    told = flags(listen=ANYWHERE, server=server)
    secrets: dict[str, str] = {}
    if not is_local:
        given = credentials()
        told += flags(
            ca=given.ca,
            cert=given.certificate,
            key=given.key,
            token_file=given.token_file,
            insecure=given.insecure,
        )
        secrets = {"MENTORGRAD_UI_TOKEN": given.token} if given.token else {}
    log.parent.mkdir(parents=True, exist_ok=True)
    with Services() as services:
        yield LivePage(services.start("ui", told, None, log, environment=secrets), services, out)


def _open(url: str) -> bool:
    """Opens an address in a browser with a window of its own; returns whether there is one."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    if type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ:
        return False  # one for terminals, which would take this one
    return browser.open(url)
