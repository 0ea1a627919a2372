"""The identity provider of a service's settings: which of its tokens are accepted, and from where
its keys are read. Only a service that has one imports this."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from mentorgrad.errors import InvalidInput
from mentorgrad.paths import expanded
from service_common.identity_keys import (
    IdentityKeys,
    discovered,
    fetched,
    is_protected,
    of_file,
    parse,
)
from service_common.identity_tokens import IdentityRules, IdentityTokens
from service_common.settings import ListenerSettings


def tokens_of_provider(settings: ListenerSettings) -> IdentityTokens:
    """The tokens of the identity provider that the settings name; starts reading its keys.

    Raises:
        InvalidInput: A setting is missing or invalid, or the file of the keys is.
    """
    for name in ("oidc_issuer", "oidc_audience", "oidc_scope", "oidc_algorithm"):
        if not getattr(settings, name):
            raise InvalidInput.field(name, "is needed to accept tokens of an identity provider")
    rules = IdentityRules(
        settings.oidc_issuer,
        settings.oidc_audience,
        settings.oidc_algorithm,
        settings.oidc_scope,
        settings.oidc_owner_claim,
        settings.oidc_project_claim,
        settings.oidc_scope_claim,
        timedelta(seconds=settings.oidc_clock_skew),
    )
    keys = IdentityKeys(_key_source(settings))
    keys.start()
    return IdentityTokens(rules, keys)


def _key_source(settings: ListenerSettings) -> Callable[[], bytes]:
    """What reads the provider's keys. A file must be valid at the start, unlike what
    a URL returns."""
    issuer, given = settings.oidc_issuer, settings.oidc_keys
    for name, url in (("oidc_issuer", issuer), ("oidc_keys", given if "://" in given else issuer)):
        if not is_protected(url):
            raise InvalidInput.field(name, "must be an https URL; http is for loopback only")
    if not given:
        return functools.partial(discovered, issuer, fetched)
    if "://" in given:
        return functools.partial(fetched, given)
    read = functools.partial(of_file, expanded(Path(given), "oidc_keys"))
    try:
        parse(read())
    except InvalidInput as error:
        raise InvalidInput.field("oidc_keys", error.message) from None
    return read
