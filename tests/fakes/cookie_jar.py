"""A browser's cookies: RFC 6265bis as Chromium has it, with the prefixes, host-only cookies, Path, Secure and SameSite."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

LONGEST = 4096


@dataclass
class Cookie:
    name: str
    value: str
    host: str
    host_only: bool
    path: str
    secure: bool
    http_only: bool
    same_site: str

    def matches(self, url: SplitResult) -> bool:
        host = url.hostname or ""
        at_home = host == self.host or (not self.host_only and host.endswith("." + self.host))
        path = url.path or "/"
        below = path == self.path or path.startswith(self.path.rstrip("/") + "/")
        return at_home and below and (not self.secure or is_trustworthy(url))


@dataclass
class CookieJar:
    """`refused` holds the Set-Cookie values that a browser would not keep, with the reason."""

    cookies: list[Cookie] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def store(self, url: str, header: str) -> None:
        where = urlsplit(url)
        pair, *attributes = header.split(";")
        name, mark, value = (part.strip() for part in pair.partition("="))
        given = {key.strip().lower(): text.strip() for key, _, text in (item.partition("=") for item in attributes)}
        cookie = Cookie(
            name=name if mark else "",
            value=value if mark else name,
            host=given.get("domain", "").lstrip(".").lower() or (where.hostname or ""),
            host_only="domain" not in given,
            path=given["path"] if given.get("path", "").startswith("/") else "/",
            secure="secure" in given,
            http_only="httponly" in given,
            same_site=given.get("samesite", "lax").lower(),
        )
        problem = _problem(cookie, given, where)
        if problem is not None:
            self.refused.append((header, problem))
            return
        self.cookies = [
            old for old in self.cookies if (old.name, old.host, old.path) != (cookie.name, cookie.host, cookie.path)
        ]
        if not given.get("max-age", "1").startswith(("0", "-")):
            self.cookies.append(cookie)

    def header(self, url: str, *, same_site: bool, navigation: bool, safe: bool) -> str:
        """The Cookie field for a request; `same_site`: whether who asks and what is asked are one site."""
        where = urlsplit(url)
        sent = [
            cookie
            for cookie in self.cookies
            if cookie.matches(where)
            and (same_site or cookie.same_site == "none" or (cookie.same_site == "lax" and navigation and safe))
        ]
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in sent)

    def names(self, host: str) -> list[str]:
        """Of the cookies that a host set, with values."""
        return [cookie.name for cookie in self.cookies if cookie.host == host and cookie.value]

    def named(self, name: str, host: str | None = None) -> Cookie | None:
        return next((c for c in self.cookies if c.name == name and host in (None, c.host)), None)


def _problem(cookie: Cookie, given: dict[str, str], where: SplitResult) -> str | None:
    host = where.hostname or ""
    if len(cookie.name) + len(cookie.value) > LONGEST:
        return "larger than 4096 bytes"
    if cookie.secure and not is_trustworthy(where):
        return "Secure over plain http"
    if not cookie.host_only and host != cookie.host and not host.endswith("." + cookie.host):
        return "another domain"
    if not cookie.host_only and "." not in cookie.host:
        return "a public suffix"
    if cookie.name.lower().startswith("__host-") and not (
        cookie.secure and cookie.host_only and given.get("path") == "/"
    ):
        return "__Host- needs Secure, Path=/ and no Domain"
    if cookie.name.lower().startswith("__secure-") and not cookie.secure:
        return "__Secure- needs Secure"
    if cookie.same_site == "none" and not cookie.secure:
        return "SameSite=None needs Secure"
    return None


def is_trustworthy(url: SplitResult) -> bool:
    """https, or a name that never leaves this machine (W3C Secure Contexts)."""
    host = url.hostname or ""
    return url.scheme == "https" or host == "localhost" or host.endswith(".localhost") or host.startswith("127.")
