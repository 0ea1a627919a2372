"""Sends one message by HTTP: to the address that was checked, and to no other."""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from mentorgrad.errors import Unavailable
from run_store.outbox import Delivery
from trainer_service.webhooks.addresses import addresses_of
from trainer_service.webhooks.endpoint import Endpoint
from trainer_service.webhooks.message import body_of, headers_of, secrets_of

SECONDS = 5.0
"""Time limit of a message, from the resolution of the name to the status."""

_READ_BYTES = 1024
"""How much of an answer is read. Nothing is done with it."""


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted: those of the system, or of SSL_CERT_FILE."""
    return httpx.create_ssl_context()


async def post(endpoint: Endpoint, delivery: Delivery, link: str) -> None:
    """Sends a message. It follows no redirects, and uses no proxy.

    Args:
        endpoint: The webhook.
        delivery: What became of which run.
        link: Address of a run for people, with ``{run_id}``; empty: none.

    Raises:
        MentorgradError: It was not accepted, in words that do not show the webhook's address.
    """
    body = body_of(delivery, link)
    secrets = secrets_of(endpoint.secret_file) if endpoint.secret_file is not None else ()
    headers = headers_of(delivery.event_id, body, secrets, int(time.time()))
    try:
        async with asyncio.timeout(SECONDS):
            status = await _status(endpoint, body, headers)
    except TimeoutError:
        raise Unavailable(f"no answer within {SECONDS:.0f} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"no answer ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise Unavailable(f"it answers with status {status}")


async def _status(endpoint: Endpoint, body: bytes, headers: dict[str, str]) -> int:
    url = httpx.URL(endpoint.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    *others, last = await addresses_of(url.host, port, endpoint.allows_private)
    for address in others:
        try:
            return await _status_at(address, url, body, headers)
        except httpx.ConnectError:  # perhaps one of IPv6, where there is none
            continue
    return await _status_at(last, url, body, headers)


async def _status_at(address: str, url: httpx.URL, body: bytes, headers: dict[str, str]) -> int:
    is_tls = url.scheme == "https"
    async with (
        httpx.AsyncClient(
            timeout=SECONDS,
            trust_env=False,
            verify=_trusted() if is_tls else False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            follow_redirects=False,
        ) as client,
        client.stream(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={
                **headers,
                "host": url.netloc.decode("ascii"),
                "accept-encoding": "identity",
                "user-agent": "mentorgrad",
            },
            # The certificate is that of the name, not of the address.
            extensions={"sni_hostname": url.raw_host.decode("ascii")} if is_tls else {},
        ) as response,
    ):
        read = 0
        async for piece in response.aiter_raw(_READ_BYTES):
            read += len(piece)
            if read >= _READ_BYTES:
                break
        return response.status_code
