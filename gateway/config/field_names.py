"""Request fields by which gateways, balancers, web servers and frameworks tell an application something: who somebody is, where they come
from, which path, host or method is meant. An application that was behind one of them before may still believe it, so none of these comes
from just anybody.

Left out are fields that honest clients send and that prove nothing by themselves: `X-Auth-Token`, `X-User-Id` (Rocket.Chat's clients), `Kbn-*`
and `X-Grafana-Org-Id` (the pages of Kibana and Grafana), `X-Vault-*` (its token decides), `X-Goog-*` and `X-Okta-*` in general (notifications).

Pure: a table of names and where they are known from. A trailing `*` stands for any ending. What becomes of a field: `Says`.
docs/threats.md C-01, C-30, C-31, C-34; deploy/guides/http.md shows this table to operators, and a test holds it to that.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Says(Enum):
    """What the fields of a row tell. All but `PLACE` and `HOST` end here, whoever sends them; those two a trusted proxy may send."""

    PERSON = "who somebody is, in which tenant, with which rights"
    CGI = "a variable that CGI, WSGI, PHP or IIS fill in by themselves"
    PATH = "another path, host or method than the request has"
    PLACE = "where somebody comes from, by which scheme, with which certificate"
    HOST = "another host, which a trusted proxy may name"


@dataclass(frozen=True, slots=True)
class FieldFamily:
    says: Says
    source: str
    names: tuple[str, ...]


def _row(says: Says, source: str, names: str) -> FieldFamily:
    return FieldFamily(says, source, tuple(names.split()))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Names that CGI programs have as variables (RFC 3875 section 4.1, and what servers add): never a client's own to send, in any spelling.
CGI_VARIABLES: Final = _words(
    "auth-type content-length content-type gateway-interface path-info path-translated query-string remote-addr remote-host remote-ident "
    "remote-port remote-user request-method request-scheme request-uri script-filename script-name script-uri script-url server-addr "
    "server-admin server-name server-port server-protocol server-software document-root document-uri context-prefix context-document-root "
    "https path proxy"
)
#: Fields that HTTP itself gives a meaning: framing, hop by hop, credentials. Named for `client_headers`, which cannot name them.
_OF_HTTP: Final = _words(
    "host cookie cookie2 authorization x-authorization x-wsse connection keep-alive te trailer trailers transfer-encoding upgrade "
    "expect http2-settings forwarded "
    "via content-encoding content-range proxy-connection proxy-authorization proxy-authenticate destination if x-real-ip x-request-id"
)
_OURS: Final = ("x-forwarded-", "x-doorward-", "x-auth-request-", "sec-", "proxy-", "access-control-")
_METHODS: Final = frozenset(("x-http-method-override", "x-http-method", "x-method-override"))

#: Credentials, which only their owner can send: they travel although a row's `*` would take them.
TRAVEL: Final = frozenset(("x-auth-token", "x-auth-key", "x-hasura-admin-secret"))

TABLE: Final = (
    # --- persons, tenants, rights -----------------------------------------------------------------------------------------
    _row(
        Says.PERSON,
        "oauth2-proxy, Databricks Apps",
        "X-Forwarded-Access-Token X-Forwarded-Id-Token Gap-Auth Gap-Signature",
    ),
    _row(
        Says.PERSON,
        "SonarQube, Rundeck",
        "X-Forwarded-Login X-Forwarded-Uuid X-Forwarded-Roles",
    ),
    _row(
        Says.PERSON,
        "web servers' REMOTE_USER as a field; Authelia",
        "Remote-*",
    ),
    _row(
        Says.PERSON,
        "Kubernetes' front proxy, Splunk, Graylog, NiFi Registry",
        "X-Remote-*",
    ),
    _row(
        Says.PERSON,
        "Kubernetes, Rancher",
        "Impersonate-*",
    ),
    _row(
        Says.PERSON,
        "Grafana",
        "X-WebAuth-* X-Grafana-User X-Grafana-Id",
    ),
    _row(
        Says.PERSON,
        "LemonLDAP::NG, YunoHost",
        "Auth-User Auth-Mail Auth-Groups Auth-Cn Auth-Roles Lm-Remote-* Ynh-*",
    ),
    _row(
        Says.PERSON,
        "Keycloak Gatekeeper, authentik, CouchDB, Posit Connect",
        "X-Auth-*",
    ),
    _row(
        Says.PERSON,
        "Kong, Zscaler (ICAP)",
        "X-Authenticated-*",
    ),
    _row(
        Says.PERSON,
        "Kong",
        "X-Consumer-* X-Credential-* X-Anonymous-Consumer X-Kong-*",
    ),
    _row(
        Says.PERSON,
        "Kong's and APISIX' OpenID plugins",
        "X-Userinfo X-User-Info X-Id-Token",
    ),
    _row(
        Says.PERSON,
        "Ory Oathkeeper, Kratos",
        "X-User X-Kratos-*",
    ),
    _row(
        Says.PERSON,
        "gateways of own making",
        "X-Username X-User-Name X-User-Email X-User-Groups X-User-Roles X-User-Role X-Role X-Roles X-SSO-* X-Gateway-* X-Trusted-* "
        "X-Principal-*",
    ),
    _row(
        Says.PERSON,
        "OpenStack (keystonemiddleware)",
        "X-Identity-Status X-Service-Identity-Status X-Project-Id X-Project-Name X-Project-Domain-* X-Domain-Id X-Domain-Name "
        "X-User-Domain-* X-Is-Admin-Project X-Service-Roles OpenStack-System-Scope",
    ),
    _row(
        Says.PERSON,
        "authentik, Pomerium, Vouch, Organizr",
        "X-Authentik-* X-Pomerium-* X-Vouch-* X-Organizr-*",
    ),
    _row(
        Says.PERSON,
        "Apache's mod_auth_openidc, mod_auth_cas, mod_auth_mellon, mod_auth_gssapi",
        "OIDC-* CAS-* Mellon-* Gss-*",
    ),
    _row(
        Says.PERSON,
        "Shibboleth",
        "Shib-* Ajp-* Eppn Affiliation Unscoped-Affiliation Primary-Affiliation Entitlement Targeted-Id Persistent-Id Assurance",
    ),
    _row(
        Says.PERSON,
        "IBM WebSEAL, Verify Access",
        "Iv-* Am-Eai-*",
    ),
    _row(
        Says.PERSON,
        "SiteMinder",
        "SM-* SMUser SMUserDN",
    ),
    _row(
        Says.PERSON,
        "Oracle Access Manager, OSSO, Identity Cloud Service, WebGate",
        "OAM-* Osso-* Idcs-* Ofs-* X-User-Identity-Domain-Name",
    ),
    _row(
        Says.PERSON,
        "WSO2, Google Cloud Endpoints and API Gateway",
        "X-Jwt-Assertion X-Jwt-Payload X-Endpoint-Api-* X-Apigateway-Api-*",
    ),
    _row(
        Says.PERSON,
        "Google IAP, App Engine",
        "X-Goog-Iap-* X-Goog-Authenticated-User-* X-AppEngine-*",
    ),
    _row(
        Says.PERSON,
        "AWS ALB",
        "X-Amzn-Oidc-*",
    ),
    _row(
        Says.PERSON,
        "Azure App Service, Entra application proxy, AD FS",
        "X-MS-Client-Principal X-MS-Client-Principal-* X-MS-Token-* X-MS-Target-Role X-IISNode-*",
    ),
    _row(
        Says.PERSON,
        "Cloudflare Access, Tailscale, Teleport, Snowflake, Replit, Sandstorm",
        "Cf-Access-* Tailscale-* Teleport-* Sf-Context-* X-Replit-* X-Sandstorm-*",
    ),
    _row(
        Says.PERSON,
        "Red Hat Hybrid Cloud, Athenz",
        "X-Rh-Identity Athenz-Principal-*",
    ),
    _row(
        Says.PERSON,
        "ShinyProxy, RStudio and Posit Workbench",
        "X-SP-UserId X-SP-UserGroups X-RStudio-UserName X-RStudio-Username-Signature",
    ),
    _row(
        Says.PERSON,
        "Apache NiFi, Datawave",
        "X-ProxiedEntit* X-ProxiedIssuersChain",
    ),
    _row(
        Says.PERSON,
        "Elasticsearch, OpenSearch, Search Guard",
        "Es-Security-Runas-User X-Proxy-User X-Proxy-Roles X-Proxy-Ext-* SecurityTenant Security-Tenant SgTenant Sg-Tenant",
    ),
    _row(
        Says.PERSON,
        "Trino, Presto",
        "X-Trino-User X-Trino-Original-User X-Presto-User",
    ),
    _row(
        Says.PERSON,
        "Hasura",
        "X-Hasura-*",
    ),
    _row(
        Says.PERSON,
        "Alfresco",
        "X-Alfresco-Remote-User",
    ),
    _row(
        Says.PERSON,
        "Cortex, Loki, Mimir, Tempo; Thanos; VictoriaMetrics; others",
        "X-Scope-OrgID Thanos-Tenant AccountID ProjectID X-Tenant*",
    ),
    # --- variables of CGI ---------------------------------------------------------------------------------------------------
    _row(
        Says.CGI,
        "CGI (RFC 3875)",
        "Auth-Type Gateway-Interface Path-Info Path-Translated Query-String Request-Method Script-Name Server-Name Server-Port "
        "Server-Protocol Server-Software",
    ),
    _row(
        Says.CGI,
        "Apache, nginx, IIS, PHP, WSGI, Rack",
        "Request-Uri Request-Scheme Script-Filename Script-Uri Script-Url Server-Addr Server-Admin Document-Root Document-Uri "
        "Context-Prefix Context-Document-Root Path Orig-* Redirect-* PHP-* Wsgi-* Rack-* Logon-User Auth-Password Unencoded-Url IIS-* "
        "Cert-*",
    ),
    _row(
        Says.CGI,
        "CGI programs take it for the proxy of their own requests (httpoxy)",
        "Proxy",
    ),
    # --- another path, host or method ---------------------------------------------------------------------------------------
    _row(
        Says.PATH,
        "IIS, Symfony, Zend, ingress-nginx, Envoy",
        "X-Original-* X-Rewrite-* X-Envoy-Original-Path",
    ),
    _row(
        Says.PATH,
        "Traefik, Spring, Knox, mod_wsgi, Plack, Catalyst, Plone",
        "X-Forwarded-Uri X-Forwarded-Url X-Forwarded-Path X-Forwarded-Path-Info X-Forwarded-Prefix X-Forwarded-Context "
        "X-Forwarded-Script-Name X-Forwarded-Method X-Forwarded-Server X-Forwarded-Base X-Script-Name X-Traversal-Path X-Request-Base "
        "X-VHM-*",
    ),
    _row(
        Says.PATH,
        "Apache NiFi, JFrog, RStudio",
        "X-ProxyContextPath X-ProxyHost X-ProxyPort X-ProxyScheme X-JFrog-Override-Base-Url X-Artifactory-Override-Base-Url "
        "X-RStudio-Root-Path X-RSC-Request X-RStudio-Request",
    ),
    _row(
        Says.PATH,
        "Next.js, Astro, Vercel",
        "X-Middleware-* X-Invoke-* X-Matched-Path X-Now-Route-Matches X-Astro-Path X-Astro-Locals",
    ),
    _row(
        Says.PATH,
        "Rack::Sendfile",
        "X-Sendfile-Type X-Accel-*",
    ),
    _row(
        Says.PATH,
        "Linkerd, Akka HTTP",
        "L5d-* Raw-Request-Uri",
    ),
    _row(
        Says.PATH,
        "what is tried against filters of paths",
        "Base-Url Http-Url Proxy-Url Proxy-Host Uri Url X-Proxy-Url X-Http-DestinationUrl X-Context-Path X-Request-Uri X-Request-Url "
        "X-Request-Path",
    ),
    # --- places, which a trusted proxy may say ------------------------------------------------------------------------------
    _row(
        Says.PLACE,
        "every other",
        "X-Forwarded-*",
    ),
    _row(
        Says.PLACE,
        "balancers and CDNs: the client's address",
        "True-Client-IP Client-IP X-Client-IP X-Cluster-Client-IP X-Originating-IP X-Remote-IP X-Remote-Addr Remote-Addr Real-IP "
        "CF-Connecting-IP CF-Connecting-IPv6 CF-Pseudo-IPv4 CF-IPCountry Fastly-Client-IP Fly-Client-IP DO-Connecting-IP "
        "X-AppEngine-User-IP X-Azure-* X-NF-Client-Connection-IP X-ProxyUser-IP X-Original-Forwarded-For X-Original-For X-Forwarded "
        "Forwarded-For X-Forward-For X-Forwarder-For X-Custom-IP-Authorization X-Sucuri-ClientIP Incap-Client-IP Ali-Cdn-Real-IP "
        "Cdn-Src-IP Cdn-Real-IP X-Vercel-Forwarded-For X-Vercel-IP-* CloudFront-Viewer-* X-MS-Proxy X-MS-Forwarded-Client-IP "
        "X-MS-ADFS-Proxy-Client-IP X-MS-Endpoint-Absolute-Path Proxy-Client-IP",
    ),
    _row(
        Says.PLACE,
        "the scheme",
        "X-Scheme X-Url-Scheme X-Original-Proto X-Original-Scheme Front-End-Https X-Https Https Cf-Visitor X-Proxied-Https ClientProtocol",
    ),
    _row(
        Says.PLACE,
        "certificates: RFC 9440, nginx, HAProxy, Tomcat, Jetty, Puppet, AWS, Azure, F5",
        "Client-Cert Client-Cert-Chain Client-Verify Client-Dn X-Client-Cert* X-Client-Verify X-Client-DN X-Client-S-DN X-Client-I-DN "
        "X-Client-CN X-Client-Subject* X-Client-Issuer* X-Client-Serial X-Client-Fingerprint X-ARR-* X-SSL-* SSL-* SSLClientCert* X-TLS-* "
        "X-mTLS-* X-Amzn-Mtls-* X-Amzn-Tls-* Proxy-Auth-Cert Proxy-Ssl-Id",
    ),
    _row(
        Says.PLACE,
        "WebLogic, Envoy",
        "WL-Proxy-* X-WebLogic-* X-Envoy-*",
    ),
    _row(
        Says.HOST,
        "balancers",
        "X-Host X-HTTP-Host-Override",
    ),
)


_EXACT: Final = {name.lower(): row.says for row in TABLE for name in row.names if not name.endswith("*")}
_STARTS: Final = tuple((name[:-1].lower(), row.says) for row in TABLE for name in row.names if name.endswith("*"))


def told_by(alike: str) -> Says | None:
    """What a field tells, by its name in lower case; None for one that is in no row. A whole name counts before a beginning."""
    if alike in TRAVEL:
        return None
    says = _EXACT.get(alike)
    return says if says is not None else next((says for start, says in _STARTS if alike.startswith(start)), None)


def reason_against(alike: str) -> str | None:
    """Why an app may not let clients send a field of this name (lower case, everything but letters and digits a hyphen). None: it may."""
    if alike in _OF_HTTP or alike.startswith(_OURS):
        return "is one that HTTP or Doorward gives a meaning"
    # SECURITY: with one of these the application would serve something else than what was judged (C-01, C-63).
    if alike in CGI_VARIABLES or told_by(alike) is Says.CGI:
        return "is a variable of CGI"
    if alike in _METHODS or told_by(alike) in (Says.PATH, Says.HOST):
        return "names another path, host or method"
    return None
