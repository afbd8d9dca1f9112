"""Spellings of `rd` that would take a browser, or a careless server, to another site. `evil.example` stands for the attacker.

Built from the tricks that redirect guards have fallen for: a second slash in every disguise, what URL parsers drop (tabs, line breaks,
blanks), user parts, look-alike hosts, other schemes, escapes within escapes, dot segments, other alphabets.
"""

from typing import Final

EVIL: Final = "evil.example"

#: What may stand between the first slash and the host and still be read as `//`.
_SECOND_SLASHES: Final = (
    "/", "\\", "//", "///", "/\\", "\\/", "\\\\", "/\\/", "\\/\\", "////",
    "\t/", "\n/", "\r/", "\r\n/", "\t\\", "\n\\", "\r\\", "\t\t/", "\x00/", "\x0b/", "\x0c/", "\x1f/", "\x7f/",
    "%2f", "%2F", "%5c", "%5C", "%2f%2f", "%5c%5c", "%2f/", "%5c/", "/%2f", "/%5c", "%09/", "%0a/", "%0d/", "%0d%0a/", "%00/",
    "%252f", "%255c", "%25252f", "%2509/", "%u002f", "%u2215", "%c0%af", "%e0%80%af",
    "./", ".//", "../", "..//", "../../", "./../", "%2e/", "%2e%2f", "%2e%2e/", "%2e%2e%2f", ".%2e//", "..;/", ".;/", ";/", ";//",
    "a/..//", "a/../\\", "a/%2e%2e//", "a/..%2f", "a/..%5c", "/a/..//",
    "\u2044", "\u2215", "\uff0f", "\uff3c", "\u29f8", "\u00a0/", "\u200b/", "\ufeff/", "\u2028/", "\u3000/", "\u0085/",
    " /", " \\", "  //",
)  # fmt: skip

#: Whole values that do not begin with one of our slashes.
_WHOLE: Final = (
    "http:{0}", "https:{0}", "http:/{0}", "https:/{0}", "http://{0}", "https://{0}", "HTTPS://{0}", "hTTp://{0}", "http:///{0}", "https:////{0}",
    "https:\\{0}", "https:\\\\{0}", "https:/\\{0}", "https:\\/{0}", "http:\t//{0}", "ht\ttps://{0}", "https\n://{0}", "\thttps://{0}", " https://{0}",
    "\x00https://{0}", "\x01https://{0}", "https://{0}\x00", "https://{0}/\r\n", "https:{0}/..", "//{0}", "///{0}", "////{0}", "/////{0}",
    "\\\\{0}", "\\/{0}", "/\\{0}", "\\/\\/{0}", "\\\t\\{0}", "{0}", "{0}/", "www.{0}", ".{0}", "@{0}", "#@{0}", "?@{0}", ":@{0}", ";@{0}",
    "ftp://{0}", "ws://{0}", "wss://{0}", "file://{0}/etc/passwd", "gopher://{0}", "data://{0}", "blob:https://{0}/x", "filesystem:https://{0}/x",
    "view-source:https://{0}", "feed:https://{0}", "jar:https://{0}!/", "intent://{0}#Intent;scheme=https;end", "//{0}:443/", "//{0}:80@x/",
    "//x@{0}", "//x:y@{0}", "//{0}?x", "//{0}#x", "//{0}\\x", "//{0}%2f", "https://{0}?https://HOST/", "https://{0}#https://HOST/",
    "https://{0}/https://HOST/", "https://{0}\\@HOST/", "https://HOST@{0}/", "https://HOST:443@{0}/", "https://HOST%40{0}/", "https://HOST%2540{0}/",
    "https://HOST.{0}/", "https://HOST%2e{0}/", "https://HOST%00.{0}/", "https://HOST%0a.{0}/", "https://HOST%23.{0}/", "https://HOST%3f.{0}/",
    "https://HOST%5c.{0}/", "https://HOST\\.{0}/", "https://HOST\t.{0}/", "https://HOST\\@{0}/", "https://HOST;@{0}/", "https://HOST,{0}/",
    "https://HOST {0}/", "https://HOST&@{0}/", "https://HOST&{0}/", "https://HOST:@{0}/", "https://HOST:x@{0}/", "https://HOST:443.{0}/",
    "https://{0}:HOST/", "https://{0}%E3%80%82HOST/", "https://{0}\u3002HOST/", "https://{0}\uff0fHOST/", "https://{0}\u2024HOST/",
    "https://evilHOST/", "https://HOSTevil/", "https://HOST-evil.example/", "https://xn--HOST/", "https://[HOST]/", "https://[{0}]/",
    "https://HOST:99999/", "https://HOST:-1/", "https://HOST:443443/", "https://HOST:0x1bb/", "https://HOST:8443/", "http://HOST/",
    "https://HOST../", "https://.HOST/", "https://*.HOST/", "https://HOST%2f.{0}/", "https:///HOST/", "https:HOST", "//HOST@{0}/", "//HOST.{0}/",
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)", "javascript://HOST/%0aalert(1)",
    "javascript:/*HOST*/alert(1)", "javascript%3aalert(1)", "vbscript:msgbox(1)", "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=", "data:,x", "about:blank", "mailto:a@{0}", "tel:1", "urn:x", "x:y", "://{0}", ":{0}", "",
    "/\t/{0}/..", "http://2130706433/", "http://0x7f000001/", "http://127.1/", "http://[::1]/", "https://3232235777/", "//0/", "//1.1/",
)  # fmt: skip


def spellings(host: str) -> list[str]:
    """All of them, `HOST` being the configured host that they play with; raw, as they are after one decoding."""
    after_slash = [f"/{trick}{EVIL}" for trick in _SECOND_SLASHES]
    whole = [text.replace("HOST", host).format(EVIL) for text in _WHOLE]
    return list(dict.fromkeys(after_slash + whole))
