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


#: What Doorward itself says of a person; the recipes take it from its answer. The session cookie is not among the cookies there.
IDENTITY: Final = (
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Name", "X-Auth-Request-User",
    "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Doorward-Jwt-Assertion", "X-Doorward-Omitted", "Cookie",
)  # fmt: skip
#: nginx can empty whole names only: the usual ones of rows that name a beginning, and of the row of X-Forwarded-*.
_COMMON: Final = (
    "Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Remote-User", "X-Remote-Group", "X-WebAuth-User", "X-WebAuth-Email",
    "X-SSL-Client-Verify", "X-SSL-Client-Cert", "X-SSL-Client-S-DN", "X-SSL-Client-DN", "X-SSL-Client-CN", "X-SSL-Client-Serial", "X-SSL-Cert", "X-SSL",
    "SSL-Client-Verify", "SSL-Client-Cert", "SSL-Client-S-DN", "X-Client-Cert", "X-ARR-ClientCert",
)  # fmt: skip
_FORWARDED: Final = (
    "X-Forwarded-Client-Cert", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-By", "X-Forwarded-Tls-Client-Cert",
    "X-Forwarded-Tls-Client-Cert-Info",
)  # fmt: skip
#: Taken out where Doorward forwards by itself, and in no row: other names of ours, other paths by their whole names, other methods.
_MORE: Final = (
    "X-Auth-Request-*", "X-Doorward-*", "X-Auth-Request-Redirect", "X-Auth-Request-Access-Token", "X-Original-URL", "X-Original-URI", "X-Original-Method",
    "X-Original-Host", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Forwarded", *_FORWARDED, *_COMMON,
)  # fmt: skip
_MADE: Final = "# Made by `python -m tests.field_lists` from gateway/config/field_names.py"
_HEAD: Final = f"{_MADE}: fields that a visitor's request must not bring along.\n"


def stripped() -> tuple[list[str], list[str]]:
    """What the recipes take out: whole names, and beginnings. Not what the proxy in front or the answer of Doorward overwrites."""
    names = dict.fromkeys((*(name for row in TABLE for name in row.names), *_MORE))
    whole = [name for name in names if not name.endswith("*")]
    return whole, [name[:-1] for name in names if name.endswith("*")]


def nginx_file() -> str:
    """Every field that is emptied or overwritten, for a location that asks Doorward or forwards."""
    whole, _ = stripped()
    sizes = "proxy_headers_hash_max_size 4096;\nproxy_headers_hash_bucket_size 128;\n"
    overwritten = (
        "proxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-For $remote_addr;\nproxy_set_header X-Forwarded-Proto $scheme;\n"
        "proxy_set_header X-Forwarded-Host $http_host;\nproxy_set_header X-Forwarded-Port $server_port;\nproxy_set_header X-Real-IP $remote_addr;\n"
    )
    return _HEAD + sizes + overwritten + "".join(f'proxy_set_header {name} "";\n' for name in whole)


def nginx_answer_file() -> str:
    """What Doorward answers, in the place of what a visitor sent."""
    lines = ""
    for name in IDENTITY:
        variable = name.lower().replace("-", "_")
        lines += f"auth_request_set $doorward_{variable} $upstream_http_{variable};\nproxy_set_header {name} $doorward_{variable};\n"
    return f"{_MADE}: what Doorward says of a person, and the cookies without its own; empty where it says nothing.\n{lines}"


def caddy_file() -> str:
    whole, starts = stripped()
    odd = [f"*{character}*" for character in "_.+~!$&'^|"]
    # Its reverse_proxy says -For, -Proto and -Host anew.
    personal = (name for name in IDENTITY if name != "Cookie")
    names = (*odd, *personal, "X-Real-IP", *whole, *(f"{start}*" for start in starts))
    lines = "".join(f"\trequest_header -{name}\n" for name in names)
    return f"{_HEAD}(doorward_fields) {{\n{lines}}}\n\n{_CADDY_ASKS}\n{_caddy_answer()}"


#: The `?` takes the request's own query away, which Caddy would keep.
_CADDY_ASKS: Final = """# Asks Doorward, and puts what it answers in the place of what a visitor sent.
(doorward_auth) {
	forward_auth 127.0.0.1:4180 {
		uri /oauth2/auth?
		import doorward_answer
		@doorward_sign_in status 401
		handle_response @doorward_sign_in {
			reverse_proxy 127.0.0.1:4180 {
				method GET
				rewrite /oauth2/start?
				header_up X-Auth-Request-Redirect {http.request.orig_uri}
				header_up -Upgrade
				header_up -Connection
			}
		}
	}
	import doorward_unsaid
}
"""


def _caddy_answer() -> str:
    """The fields of the answer, and the removal of those that it does not have: Caddy 2.6 puts the name of its variable there."""
    copied = "".join(f"\t\t{name}\n" for name in IDENTITY)
    unsaid = "".join(
        f"\t@{variable} header_regexp {name} ^.http[.]reverse_proxy[.]header\n\trequest_header @{variable} -{name}\n"
        for name in IDENTITY
        for variable in ("unsaid_" + name.lower().replace("-", "_"),)
    )
    return f"(doorward_answer) {{\n\tcopy_headers {{\n{copied}\t}}\n}}\n\n(doorward_unsaid) {{\n{unsaid}}}\n"


def _pattern() -> str:
    """A regular expression for the names, in lower case."""
    whole, starts = stripped()
    kept = [start for start in starts if start != "X-Forwarded-"]
    names = (name.lower() for name in (*IDENTITY, *whole))
    return "|".join([".*[^a-z0-9-].*", *names, *(f"{start.lower()}.*" for start in kept)])


def traefik_file() -> str:
    return (
        f"{_HEAD}http:\n  middlewares:\n    doorward:\n      forwardAuth:\n        address: http://127.0.0.1:4180/oauth2/auth\n"
        "        trustForwardHeader: false\n        maxResponseBodySize: 1048576\n"
        f"        authResponseHeadersRegex: '(?i)^({_pattern()})$'\n"
        "    doorward-sign-in:\n      errors:\n        status: ['401']\n        statusRewrites: {'401': 302}\n        service: doorward\n"
        "        query: /oauth2/start?rd={url}\n"
        "  services:\n    doorward:\n      loadBalancer:\n        servers:\n          - url: http://127.0.0.1:4180\n"
    )


def envoy_file() -> str:
    """Two filters of an HTTP connection manager."""
    type_of = "type.googleapis.com/envoy.extensions.filters.http"
    whole, starts = stripped()
    names = [name.lower() for name in (*IDENTITY, "X-Forwarded-Port", "X-Real-IP", *whole) if name != "Cookie"]
    removed = [f"remove: {name}" for name in names]
    removed += [
        f'remove_on_match: {{key_matcher: {{prefix: "{start.lower()}"}}}}'
        for start in starts
        if start != "X-Forwarded-"
    ]
    removed.append('remove_on_match: {key_matcher: {safe_regex: {regex: ".*[^a-z0-9:-].*"}}}')
    overwritten = [
        f'append: {{header: {{key: {name}, value: "{value}"}}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}'
        for name, value in (
            ("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), ("x-forwarded-host", "%REQ(:AUTHORITY)%"),
        )
    ]  # fmt: skip
    mutations = "".join(f"          - {each}\n" for each in (*removed, *overwritten))
    answer = "".join(f"              - exact: {name.lower()}\n" for name in IDENTITY)
    return f"""{_HEAD}http_filters:
  - name: envoy.filters.http.header_mutation
    typed_config:
      "@type": {type_of}.header_mutation.v3.HeaderMutation
      mutations:
        request_mutations:
{mutations}  - name: envoy.filters.http.ext_authz
    typed_config:
      "@type": {type_of}.ext_authz.v3.ExtAuthz
      allowed_headers:
        patterns:
          - safe_regex:
              regex: ".*"
      http_service:
        server_uri:
          uri: http://127.0.0.1:4180
          cluster: doorward
          timeout: 5s
        path_prefix: /oauth2/auth
        authorization_response:
          allowed_upstream_headers:
            patterns:
{answer}"""


def files() -> Mapping[Path, str]:
    """Every file that repeats a list, as it should be."""
    guide = HTTP_GUIDE.read_text()
    return {
        HTTP_GUIDE: _BLOCK.sub(lambda match: match[1] + guide_table() + match[2], guide),
        RECIPES / "nginx-fields.conf": nginx_file(),
        RECIPES / "nginx-answer.conf": nginx_answer_file(),
        RECIPES / "caddy-fields": caddy_file(),
        RECIPES / "traefik.yaml": traefik_file(),
        RECIPES / "envoy.yaml": envoy_file(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
