"""The names of header fields: what HTTP and Doorward give a meaning, and the request fields by which gateways, balancers, web servers and
frameworks pass facts to an application.

Such a fact is the person, the client's address, or another path, host or method. An application that was behind one of these products may
still believe its fields, so a client cannot send them (`FieldMeaning`).

Left out are fields that honest clients send and that prove nothing by themselves: `X-Auth-Token`, `X-User-Id` (Rocket.Chat's clients), `Kbn-*`
and `X-Grafana-Org-Id` (the pages of Kibana and Grafana), `X-Vault-*` (its token decides), `X-Goog-*` and `X-Okta-*` in general (notifications).

Names are in lower case except in `TABLE`, where a trailing `*` stands for any ending. Pure. docs/threats.md C-01, C-30, C-31, C-34;
deploy/guides/http.md contains `TABLE`, and a test compares the two.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class FieldMeaning(Enum):
    """What a field asserts. `PERSON`, `PLACE` and `HOST` are forwarded where `trusted_headers` names them and a trusted proxy sends them."""

    PERSON = "who a person is, in which tenant, with which rights"
    CGI = "a variable that CGI, WSGI, PHP or IIS fill in by themselves"
    PATH = "another path, host or method than the request has"
    PLACE = "where a client comes from, by which scheme, with which certificate"
    HOST = "another host"


@dataclass(frozen=True, slots=True)
class FieldFamily:
    """The fields of one product or specification (`source`) that have one meaning."""

    meaning: FieldMeaning
    source: str
    names: tuple[str, ...]


def _row(meaning: FieldMeaning, source: str, names: str) -> FieldFamily:
    return FieldFamily(meaning, source, tuple(names.split()))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: What an upstream reads about the person.
IDENTITY_FIELDS: Final = _words(
    "x-forwarded-user x-forwarded-email x-forwarded-groups x-forwarded-preferred-username x-forwarded-name"
)
#: Other fields that Doorward alone sends.
OUR_PREFIXES: Final = ("x-doorward-", "x-auth-request-")
#: What a proxy writes about the client's connection: ours, unless a trusted proxy sends them.
FORWARDING_FIELDS: Final = _words(
    "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-real-ip forwarded"
)
METHOD_OVERRIDES: Final = _words("x-http-method-override x-http-method x-method-override")
#: Connection-specific beside Connection, Upgrade and Transfer-Encoding (RFC 9110 section 7.6.1), and what is for this proxy alone.
HOP_BY_HOP: Final = _words(
    "keep-alive proxy-connection proxy-authorization proxy-authenticate te trailer http2-settings"
)
#: What no configured request of ours may set: who is addressed, where the message ends, and what the connection is for.
FRAMING_FIELDS: Final = _words("host content-length transfer-encoding connection cookie te upgrade")
_MESSAGE: Final = _words(
    "host cookie authorization connection keep-alive te trailer trailers transfer-encoding upgrade expect forwarded via x-real-ip x-request-id"
)
#: What `headers` of an app cannot name.
_RESERVED: Final = (
    _MESSAGE
    | METHOD_OVERRIDES
    | _words(
        "set-cookie origin referer date traceparent tracestate x-original-url x-original-uri x-original-method x-rewrite-url accept-encoding "
        "range clear-site-data"
    )
)
_RESERVED_PREFIXES: Final = ("x-forwarded-", *OUR_PREFIXES, "content-", "proxy-", "sec-", "access-control-")
#: What `client_headers` of an app cannot name: framing, connection, credentials.
_OF_HTTP: Final = (
    _MESSAGE | HOP_BY_HOP | _words("cookie2 x-authorization x-wsse content-encoding content-range destination if")
)
_OF_HTTP_PREFIXES: Final = ("x-forwarded-", *OUR_PREFIXES, "sec-", "proxy-", "access-control-")

#: Names that CGI programs have as variables (RFC 3875 section 4.1, and what servers add): dropped from every client, in any spelling.
CGI_VARIABLES: Final = _words(
    "auth-type content-length content-type gateway-interface path-info path-translated query-string remote-addr remote-host remote-ident "
    "remote-port remote-user request-method request-scheme request-uri script-filename script-name script-uri script-url server-addr "
    "server-admin server-name server-port server-protocol server-software document-root document-uri context-prefix context-document-root "
    "https path proxy"
)
#: Credentials, which only their owner can send: forwarded although the `*` of a row covers them.
TRAVEL: Final = frozenset(("x-auth-token", "x-auth-key", "x-hasura-admin-secret"))

TABLE: Final = (
    # --- persons, tenants, rights -----------------------------------------------------------------------------------------
    _row(
        FieldMeaning.PERSON,
        "oauth2-proxy, Databricks Apps",
        "X-Forwarded-Access-Token X-Forwarded-Id-Token Gap-Auth Gap-Signature",
    ),
    _row(
        FieldMeaning.PERSON,
        "SonarQube, Rundeck",
        "X-Forwarded-Login X-Forwarded-Uuid X-Forwarded-Roles",
    ),
    _row(
        FieldMeaning.PERSON,
        "web servers' REMOTE_USER as a field; Authelia",
        "Remote-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Kubernetes' front proxy, Splunk, Graylog, NiFi Registry",
        "X-Remote-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Kubernetes, Rancher",
        "Impersonate-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Grafana",
        "X-WebAuth-* X-Grafana-User X-Grafana-Id",
    ),
    _row(
        FieldMeaning.PERSON,
        "LemonLDAP::NG, YunoHost",
        "Auth-User Auth-Mail Auth-Groups Auth-Cn Auth-Roles Lm-Remote-* Ynh-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Keycloak Gatekeeper, authentik, CouchDB, Posit Connect",
        "X-Auth-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Kong, Zscaler (ICAP)",
        "X-Authenticated-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Kong",
        "X-Consumer-* X-Credential-* X-Anonymous-Consumer X-Kong-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Kong's and APISIX' OpenID plugins",
        "X-Userinfo X-User-Info X-Id-Token",
    ),
    _row(
        FieldMeaning.PERSON,
        "Ory Oathkeeper, Kratos",
        "X-User X-Kratos-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "gateways of own making",
        "X-Username X-User-Name X-User-Email X-User-Groups X-User-Roles X-User-Role X-Role X-Roles X-SSO-* X-Gateway-* X-Trusted-* "
        "X-Principal-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "OpenStack (keystonemiddleware)",
        "X-Identity-Status X-Service-Identity-Status X-Project-Id X-Project-Name X-Project-Domain-* X-Domain-Id X-Domain-Name "
        "X-User-Domain-* X-Is-Admin-Project X-Service-Roles OpenStack-System-Scope",
    ),
    _row(
        FieldMeaning.PERSON,
        "authentik, Pomerium, Vouch, Organizr",
        "X-Authentik-* X-Pomerium-* X-Vouch-* X-Organizr-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Apache's mod_auth_openidc, mod_auth_cas, mod_auth_mellon, mod_auth_gssapi",
        "OIDC-* CAS-* Mellon-* Gss-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Shibboleth",
        "Shib-* Ajp-* Eppn Affiliation Unscoped-Affiliation Primary-Affiliation Entitlement Targeted-Id Persistent-Id Assurance",
    ),
    _row(
        FieldMeaning.PERSON,
        "IBM WebSEAL, Verify Access",
        "Iv-* Am-Eai-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "SiteMinder",
        "SM-* SMUser SMUserDN",
    ),
    _row(
        FieldMeaning.PERSON,
        "Oracle Access Manager, OSSO, Identity Cloud Service, WebGate",
        "OAM-* Osso-* Idcs-* Ofs-* X-User-Identity-Domain-Name",
    ),
    _row(
        FieldMeaning.PERSON,
        "WSO2, Google Cloud Endpoints and API Gateway",
        "X-Jwt-Assertion X-Jwt-Payload X-Endpoint-Api-* X-Apigateway-Api-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Google IAP, App Engine",
        "X-Goog-Iap-* X-Goog-Authenticated-User-* X-AppEngine-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "AWS ALB",
        "X-Amzn-Oidc-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Azure App Service, Entra application proxy, AD FS",
        "X-MS-Client-Principal X-MS-Client-Principal-* X-MS-Token-* X-MS-Target-Role X-IISNode-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Cloudflare Access, Tailscale, Teleport, Snowflake, Replit, Sandstorm",
        "Cf-Access-* Tailscale-* Teleport-* Sf-Context-* X-Replit-* X-Sandstorm-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Red Hat Hybrid Cloud, Athenz",
        "X-Rh-Identity Athenz-Principal-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "ShinyProxy, RStudio and Posit Workbench",
        "X-SP-UserId X-SP-UserGroups X-RStudio-UserName X-RStudio-Username-Signature",
    ),
    _row(
        FieldMeaning.PERSON,
        "Apache NiFi, Datawave",
        "X-ProxiedEntit* X-ProxiedIssuersChain",
    ),
    _row(
        FieldMeaning.PERSON,
        "Elasticsearch, OpenSearch, Search Guard",
        "Es-Security-Runas-User X-Proxy-User X-Proxy-Roles X-Proxy-Ext-* SecurityTenant Security-Tenant SgTenant Sg-Tenant",
    ),
    _row(
        FieldMeaning.PERSON,
        "Trino, Presto",
        "X-Trino-User X-Trino-Original-User X-Presto-User",
    ),
    _row(
        FieldMeaning.PERSON,
        "Hasura",
        "X-Hasura-*",
    ),
    _row(
        FieldMeaning.PERSON,
        "Alfresco",
        "X-Alfresco-Remote-User",
    ),
    _row(
        FieldMeaning.PERSON,
        "Cortex, Loki, Mimir, Tempo; Thanos; VictoriaMetrics; others",
        "X-Scope-OrgID Thanos-Tenant AccountID ProjectID X-Tenant*",
    ),
    # --- variables of CGI ---------------------------------------------------------------------------------------------------
    _row(
        FieldMeaning.CGI,
        "CGI (RFC 3875)",
        "Auth-Type Gateway-Interface Path-Info Path-Translated Query-String Request-Method Script-Name Server-Name Server-Port "
        "Server-Protocol Server-Software",
    ),
    _row(
        FieldMeaning.CGI,
        "Apache, nginx, IIS, PHP, WSGI, Rack",
        "Request-Uri Request-Scheme Script-Filename Script-Uri Script-Url Server-Addr Server-Admin Document-Root Document-Uri "
        "Context-Prefix Context-Document-Root Path Orig-* Redirect-* PHP-* Wsgi-* Rack-* Logon-User Auth-Password Unencoded-Url IIS-* "
        "Cert-*",
    ),
    _row(
        FieldMeaning.CGI,
        "CGI programs take it for the proxy of their own requests (httpoxy)",
        "Proxy",
    ),
    # --- another path, host or method ---------------------------------------------------------------------------------------
    _row(
        FieldMeaning.PATH,
        "IIS, Symfony, Zend, ingress-nginx, Envoy",
        "X-Original-* X-Rewrite-* X-Envoy-Original-Path",
    ),
    _row(
        FieldMeaning.PATH,
        "Traefik, Spring, Knox, mod_wsgi, Plack, Catalyst, Plone",
        "X-Forwarded-Uri X-Forwarded-Url X-Forwarded-Path X-Forwarded-Path-Info X-Forwarded-Prefix X-Forwarded-Context "
        "X-Forwarded-Script-Name X-Forwarded-Method X-Forwarded-Server X-Forwarded-Base X-Script-Name X-Traversal-Path X-Request-Base "
        "X-VHM-*",
    ),
    _row(
        FieldMeaning.PATH,
        "Apache NiFi, JFrog, RStudio",
        "X-ProxyContextPath X-ProxyHost X-ProxyPort X-ProxyScheme X-JFrog-Override-Base-Url X-Artifactory-Override-Base-Url "
        "X-RStudio-Root-Path X-RSC-Request X-RStudio-Request",
    ),
    _row(
        FieldMeaning.PATH,
        "Next.js, Astro, Vercel",
        "X-Middleware-* X-Invoke-* X-Matched-Path X-Now-Route-Matches X-Astro-Path X-Astro-Locals",
    ),
    _row(
        FieldMeaning.PATH,
        "Rack::Sendfile",
        "X-Sendfile-Type X-Accel-*",
    ),
    _row(
        FieldMeaning.PATH,
        "Linkerd, Akka HTTP",
        "L5d-* Raw-Request-Uri",
    ),
    _row(
        FieldMeaning.PATH,
        "what is tried against filters of paths",
        "Base-Url Http-Url Proxy-Url Proxy-Host Uri Url X-Proxy-Url X-Http-DestinationUrl X-Context-Path X-Request-Uri X-Request-Url "
        "X-Request-Path",
    ),
    # --- places -------------------------------------------------------------------------------------------------------------
    _row(
        FieldMeaning.PLACE,
        "every other",
        "X-Forwarded-*",
    ),
    _row(
        FieldMeaning.PLACE,
        "balancers and CDNs: the client's address",
        "True-Client-IP Client-IP X-Client-IP X-Cluster-Client-IP X-Originating-IP X-Remote-IP X-Remote-Addr Remote-Addr Real-IP "
        "CF-Connecting-IP CF-Connecting-IPv6 CF-Pseudo-IPv4 CF-IPCountry Fastly-Client-IP Fly-Client-IP DO-Connecting-IP "
        "X-AppEngine-User-IP X-Azure-* X-NF-Client-Connection-IP X-ProxyUser-IP X-Original-Forwarded-For X-Original-For X-Forwarded "
        "Forwarded-For X-Forward-For X-Forwarder-For X-Custom-IP-Authorization X-Sucuri-ClientIP Incap-Client-IP Ali-Cdn-Real-IP "
        "Cdn-Src-IP Cdn-Real-IP X-Vercel-Forwarded-For X-Vercel-IP-* CloudFront-Viewer-* X-MS-Proxy X-MS-Forwarded-Client-IP "
        "X-MS-ADFS-Proxy-Client-IP X-MS-Endpoint-Absolute-Path Proxy-Client-IP",
    ),
    _row(
        FieldMeaning.PLACE,
        "the scheme",
        "X-Scheme X-Url-Scheme X-Original-Proto X-Original-Scheme Front-End-Https X-Https Https Cf-Visitor X-Proxied-Https ClientProtocol",
    ),
    _row(
        FieldMeaning.PLACE,
        "certificates: RFC 9440, nginx, HAProxy, Tomcat, Jetty, Puppet, AWS, Azure, F5",
        "Client-Cert Client-Cert-Chain Client-Verify Client-Dn X-Client-Cert* X-Client-Verify X-Client-DN X-Client-S-DN X-Client-I-DN "
        "X-Client-CN X-Client-Subject* X-Client-Issuer* X-Client-Serial X-Client-Fingerprint X-ARR-* X-SSL-* SSL-* SSLClientCert* X-TLS-* "
        "X-mTLS-* X-Amzn-Mtls-* X-Amzn-Tls-* Proxy-Auth-Cert Proxy-Ssl-Id",
    ),
    _row(
        FieldMeaning.PLACE,
        "WebLogic, Envoy",
        "WL-Proxy-* X-WebLogic-* X-Envoy-*",
    ),
    _row(
        FieldMeaning.HOST,
        "balancers",
        "X-Host X-HTTP-Host-Override",
    ),
)


_EXACT: Final = {name.lower(): row.meaning for row in TABLE for name in row.names if not name.endswith("*")}
_STARTS: Final = tuple((name[:-1].lower(), row.meaning) for row in TABLE for name in row.names if name.endswith("*"))


def meaning_of(lower: str) -> FieldMeaning | None:
    """The meaning of a field by its name in lower case; None for one that is in no row. A whole name counts before a prefix."""
    if lower in TRAVEL:
        return None
    meaning = _EXACT.get(lower)
    if meaning is not None:
        return meaning
    return next((meaning for start, meaning in _STARTS if lower.startswith(start)), None)


def is_reserved(normalised: str) -> bool:
    """Whether HTTP or Doorward gives the field a meaning, so that `headers` cannot set it. `normalised`: as `values.normalise_header` does."""
    # SECURITY: an "extra" Host, Content-Length or X-Forwarded-User would reframe requests or forge an identity (C-30).
    return normalised in _RESERVED or normalised.startswith(_RESERVED_PREFIXES)


def reason_against(normalised: str) -> str | None:
    """Why `client_headers` cannot name a field. `normalised`: as `values.normalise_header` does. None: it can."""
    if normalised in _OF_HTTP or normalised.startswith(_OF_HTTP_PREFIXES):
        return "is one that HTTP or Doorward gives a meaning"
    # SECURITY: with one of these the application would serve another request than the one that was judged (C-01, C-63).
    if normalised in CGI_VARIABLES or meaning_of(normalised) is FieldMeaning.CGI:
        return "is a variable of CGI"
    if normalised in METHOD_OVERRIDES or meaning_of(normalised) in (FieldMeaning.PATH, FieldMeaning.HOST):
        return "names another path, host or method"
    return None


def reason_against_trust(normalised: str) -> str | None:
    """Why `trusted_headers` cannot name a field. `normalised`: as `values.normalise_header` does. None: it can."""
    meaning = meaning_of(normalised)
    if normalised in FORWARDING_FIELDS:
        return "is read from trusted_proxies without being named"
    if normalised in IDENTITY_FIELDS or normalised.startswith(OUR_PREFIXES):
        return "is one that Doorward alone sends"
    if meaning in (FieldMeaning.PERSON, FieldMeaning.PLACE, FieldMeaning.HOST):
        return None
    # SECURITY: a proxy that passes a client's on would have the application serve another request than the one that was judged (C-63).
    if normalised in METHOD_OVERRIDES or meaning is FieldMeaning.PATH:
        return "names another path or method"
    if normalised in CGI_VARIABLES or meaning is FieldMeaning.CGI:
        return "is a variable of CGI"
    of_http = normalised in _OF_HTTP or normalised.startswith(_OF_HTTP_PREFIXES)
    return "is one that HTTP gives a meaning" if of_http else None
