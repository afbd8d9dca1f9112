"""The `bearer` section of an app: the access tokens by which programs say who asks."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator

from gateway.config import addresses, values
from gateway.config.sections.fields import Duration, Section
from gateway.config.values import between

#: Whether programs with a token may come where persons with a session may: only they, they too, never.
Programs = Literal["only", "also", "never"]

_CacheTime = Annotated[Duration, AfterValidator(between(timedelta(seconds=1), timedelta(minutes=10), "1s to 10m"))]


class Introspection(Section):
    """Opaque tokens, which the provider is asked about (RFC 7662). `cache`: for how long an answer counts at most."""

    cache: _CacheTime = timedelta(seconds=60)


class BearerSettings(Section):
    """Whose tokens an app accepts, of which kind, for which audience."""

    profile: Literal["rfc9068", "jwt", "id_token"] = "rfc9068"
    audiences: tuple[Annotated[str, AfterValidator(values.parse_audience)], ...] = ()
    issuers: tuple[Annotated[str, AfterValidator(addresses.parse_web_url)], ...] = ()
    introspection: Introspection | None = None
    default: Programs = "never"
