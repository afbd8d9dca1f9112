"""The lists of field names that documents and recipes repeat, made from gateway/config/field_names.py.

`python -m tests.field_lists` writes them into the documents; tests/test_docs.py compares.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.config.field_names import TABLE, FieldMeaning

ROOT: Final = Path(__file__).resolve().parents[1]
HTTP_GUIDE: Final = ROOT / "deploy" / "guides" / "http.md"
RECIPES: Final = ROOT / "deploy" / "forward-auth"
_TITLES: Final = {
    "ends here, whoever sends it": (FieldMeaning.CGI, FieldMeaning.PATH),
    "ends here, unless `trusted_headers` names it and a trusted proxy sends it": (
        FieldMeaning.PERSON,
        FieldMeaning.PLACE,
        FieldMeaning.HOST,
    ),
}
_BLOCK = re.compile(r"(<!-- field names: begin -->\n).*?(<!-- field names: end -->)", re.DOTALL)


def guide_table() -> str:
    """The tables of http.md."""
    return "\n".join(line for title, kinds in _TITLES.items() for line in (*_table(title, kinds), ""))


def _table(title: str, kinds: tuple[FieldMeaning, ...]) -> Iterator[str]:
    yield f"| {title} | known from |"
    yield "| --- | --- |"
    for row in TABLE:
        if row.meaning in kinds:
            yield f"| {', '.join(f'`{name}`' for name in row.names)} | {row.source} |"


#: What Doorward itself says of a person; the recipes take it from its answer.
IDENTITY: Final = (
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Name",
    "X-Doorward-Jwt-Assertion",
    "X-Doorward-Omitted",
)
_BY_PROXY: Final = (
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
)  # what the proxy in front says
#: Taken out where Doorward forwards by itself, and in no row: other names of ours, other paths by their whole names, other methods.
_MORE: Final = (
    "X-Auth-Request-*", "X-Doorward-*", "X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Rewrite-URL",
    "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Forwarded",
)  # fmt: skip
_HEAD: Final = "# Made by `python -m tests.field_lists` from gateway/config/field_names.py: fields that a visitor's request must not bring along.\n"


def stripped() -> tuple[list[str], list[str]]:
    """What the recipes take out: whole names, and beginnings. Not what the proxy in front or the answer of Doorward overwrites."""
    names = dict.fromkeys((*(name for row in TABLE for name in row.names), *_MORE))
    whole = [name for name in names if not name.endswith("*")]
    return whole, [name[:-1] for name in names if name.endswith("*")]


def nginx_file() -> str:
    whole, _ = stripped()
    sizes = "proxy_headers_hash_max_size 4096;\nproxy_headers_hash_bucket_size 128;\n"
    return _HEAD + sizes + "".join(f'proxy_set_header {name} "";\n' for name in whole)


def caddy_file() -> str:
    whole, starts = stripped()
    odd = [f"*{character}*" for character in "_.+~!$&'^|"]
    kept = [
        f"{start}*" for start in starts if start != "X-Forwarded-"
    ]  # those, `trusted_proxies` of Caddy decides about
    lines = "".join(f"\trequest_header -{name}\n" for name in (*odd, *IDENTITY, *whole, *kept))
    return f"{_HEAD}(doorward_fields) {{\n{lines}}}\n"


def traefik_file() -> str:
    whole, starts = stripped()
    kept = [start for start in starts if start != "X-Forwarded-"]
    pattern = "|".join(
        [".*[^a-z0-9-].*", *(name.lower() for name in (*IDENTITY, *whole)), *(f"{start.lower()}.*" for start in kept)]
    )
    return (
        f"{_HEAD}http:\n  middlewares:\n    doorward:\n      forwardAuth:\n        address: http://127.0.0.1:4180/oauth2/auth\n"
        f"        trustForwardHeader: false\n        authResponseHeadersRegex: '(?i)^({pattern})$'\n"
    )


def files() -> Mapping[Path, str]:
    """Every file that repeats a list, as it should be."""
    guide = HTTP_GUIDE.read_text()
    return {
        HTTP_GUIDE: _BLOCK.sub(lambda match: match[1] + guide_table() + match[2], guide),
        RECIPES / "nginx-fields.conf": nginx_file(),
        RECIPES / "caddy-fields": caddy_file(),
        RECIPES / "traefik.yaml": traefik_file(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
