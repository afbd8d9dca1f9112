"""The upstream's Set-Cookie fields, as far as a gateway must parse them.

Pure. RFC 6265 section 5.2: the first pair is name and value, all others are attributes.
"""

from dataclasses import dataclass

from gateway.sessions.cookie import set_cookie


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCookie:
    """A parsed Set-Cookie field. `attributes` are `name=value` or `name`, stripped, unchanged in case."""

    name: bytes
    value: bytes
    attributes: tuple[bytes, ...]

    @property
    def path(self) -> bytes:
        found = [
            value.strip() for name, _, value in self._pairs() if name == b"path" and value.strip().startswith(b"/")
        ]
        return found[-1] if found else b"/"

    @property
    def deletes(self) -> bool:
        """Whether it deletes the cookie, by an empty value or by `Max-Age`.

        A deletion by `Expires` alone is sealed like any cookie, which does no harm.
        """
        ages = [value.strip() for name, _, value in self._pairs() if name == b"max-age"]
        return not self.value or (bool(ages) and (ages[-1].startswith(b"-") or ages[-1] == b"0"))

    def _pairs(self) -> list[tuple[bytes, bytes, bytes]]:
        return [
            (name.strip().lower(), mark, value)
            for name, mark, value in (attribute.partition(b"=") for attribute in self.attributes)
        ]

    def for_host(self, value: bytes, *, secure: bool) -> bytes:
        """The field's value with another cookie value, for this host alone: without Domain, and Secure where our origin is.

        Strict becomes Lax: a browser that comes from the provider, or follows a link of another site, would not send the cookie, and a hand-off
        would follow each time. Strict protects nothing here, because every navigation is handed off anyway.
        """
        kept = [one for one in self.attributes if one.partition(b"=")[0].strip().lower() not in (b"domain", b"")]
        kept = [b"SameSite=Lax" if one.replace(b" ", b"").lower() == b"samesite=strict" else one for one in kept]
        if secure and not any(one.lower() == b"secure" for one in kept):
            kept.append(b"Secure")
        return b"; ".join((self.name + b"=" + value, *kept))


def parse_set_cookie(value: bytes) -> SetCookie | None:
    """Parse a Set-Cookie value; None for one without a name, which browsers read differently."""
    pair, *attributes = value.split(b";")
    name, mark, content = pair.partition(b"=")
    name, content = name.strip(b" \t"), content.strip(b" \t")
    if not mark or not name:
        return None
    return SetCookie(name=name, value=content, attributes=tuple(one.strip(b" \t") for one in attributes))


def expired(name: str, path: str, *, secure: bool) -> str:
    """The Set-Cookie value that deletes a cookie that `for_host` set."""
    return set_cookie(name, "", secure=secure, path=path, max_age=0)
