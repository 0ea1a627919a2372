"""Which proxy of the environment an HTTP request goes through.

The HTTP client's own reading of the environment fails as a whole for one value that it does not
know, also where the request needs no proxy, and sends even loopback addresses through a proxy.
"""

from __future__ import annotations

import ipaddress
from importlib.util import find_spec
from urllib import request

import httpx

from mentorgrad.errors import InvalidInput
from mentorgrad.outside_text import without_secrets
from mentorgrad.wire.addresses import is_loopback

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy for a URL, by ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``.

    None is a direct connection, as always to loopback addresses.

    Raises:
        InvalidInput: The variable that applies names no proxy that can be used.
    """
    proxies = request.getproxies_environment()
    scheme = url.scheme if url.scheme in proxies else "all"
    address = proxies.get(scheme, "")
    if not address or _is_direct(url, proxies.get("no", "")):
        return None
    if "://" not in address:
        address = f"http://{address}"
    try:
        proxy = httpx.Proxy(address)
    except (ValueError, httpx.InvalidURL):
        proxy = None
    if proxy is None or not proxy.url.host:
        raise InvalidInput.field(
            f"{scheme}_proxy",
            f"must be the URL of an http, https or socks5 proxy, not {without_secrets(address)!r}",
        )
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise InvalidInput.field(
            f"{scheme}_proxy", "is a SOCKS proxy, which needs: pip install 'httpx[socks]'"
        )
    return proxy


def _is_direct(url: httpx.URL, exempt: str) -> bool:
    """Whether a host is loopback, or exempt by ``no_proxy``: names, their ends (also written
    ``*.example.org``), addresses and networks; a name or address also with a port."""
    host, port = url.host, url.port or _PORTS.get(url.scheme)
    entries = [entry.strip().removeprefix("*.") for entry in exempt.split(",")]
    bypass = request.proxy_bypass_environment  # type: ignore[attr-defined]
    if is_loopback(f"{host}:0") or bypass(f"{host}:{port}", {"no": ",".join(entries)}):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in map(_network, entries) if network)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry.strip().replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None
