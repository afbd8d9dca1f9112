"""The upstream's Set-Cookie fields, as far as a gateway must understand them.

Pure. RFC 6265 section 5.2: the first pair is name and value, whatever follows are attributes.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCookie:
    """`attributes` as they came, each stripped."""

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
        """Whether it plainly takes the cookie away. One that is only dated back is not seen, and is sealed to no harm."""
        ages = [value.strip() for name, _, value in self._pairs() if name == b"max-age"]
        return not self.value or (bool(ages) and (ages[-1].startswith(b"-") or ages[-1] == b"0"))

    def _pairs(self) -> list[tuple[bytes, bytes, bytes]]:
        return [
            (name.strip().lower(), mark, value)
            for name, mark, value in (attribute.partition(b"=") for attribute in self.attributes)
        ]

    def kept_here(self, value: bytes, *, secure: bool) -> bytes:
        """The field's value for this host alone: it is ours to keep, so no sibling gets it; Secure where we are.

        Strict becomes Lax: a browser that comes from the provider, or follows a link from elsewhere, would hold the cookie back, and be handed
        off again each time; whoever navigates here is handed off anyway, so Strict keeps nobody out.
        """
        kept = [one for one in self.attributes if one.partition(b"=")[0].strip().lower() not in (b"domain", b"")]
        kept = [b"SameSite=Lax" if one.replace(b" ", b"").lower() == b"samesite=strict" else one for one in kept]
        if secure and not any(one.lower() == b"secure" for one in kept):
            kept.append(b"Secure")
        return b"; ".join((self.name + b"=" + value, *kept))


def parse_set_cookie(value: bytes) -> SetCookie | None:
    """None for a nameless one: browsers do not agree on what that is."""
    pair, *attributes = value.split(b";")
    name, mark, content = pair.partition(b"=")
    name, content = name.strip(b" \t"), content.strip(b" \t")
    if not mark or not name:
        return None
    return SetCookie(name=name, value=content, attributes=tuple(one.strip(b" \t") for one in attributes))


def expired(name: str, path: str, *, secure: bool) -> str:
    """The Set-Cookie value that deletes a cookie that was kept here."""
    return f"{name}=; Path={path}; Max-Age=0; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
