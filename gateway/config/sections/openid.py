"""The `openid` section: the provider, and the toggles of the "Integrating OpenID" page."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, PlainValidator

from gateway.config import addresses, values
from gateway.config.authorization_parameters import parse_parameter_name, parse_parameter_value, parse_parameters
from gateway.config.claim_path import ClaimPath, parse_claim_path, parse_list_claim
from gateway.config.sections.fields import File, Name, Secret, Section, Skew, Wait, checked

DEFAULT_PROVIDER: Final = "openid"  # the name of the provider that this section describes


SigningAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]
Claim = Annotated[ClaimPath, PlainValidator(parse_claim_path)]
ParameterName = Annotated[str, AfterValidator(parse_parameter_name)]
ParameterValue = Annotated[str, AfterValidator(parse_parameter_value)]
ListClaim = Annotated[ClaimPath, PlainValidator(parse_list_claim)]


class ClaimNames(Section):
    subject: Claim = ClaimPath("sub")
    email: Claim = ClaimPath("email")
    name: Claim = ClaimPath("name")
    groups: ListClaim = ClaimPath("groups")
    preferred_username: Claim = ClaimPath("preferred_username")


class ClientTls(Section):
    """The certificate that we present to the provider, and its key."""

    certificate: File | None = None
    key: File | None = None

    @property
    def files(self) -> tuple[Path, Path] | None:
        """Certificate and key; None where they are not given."""
        return None if self.certificate is None or self.key is None else (self.certificate, self.key)


class ProviderKeys(Section):
    """The settings of one provider, and of Doorward as its client."""

    title: Annotated[str, AfterValidator(values.parse_title)] = ""
    log_out_url: Annotated[str, checked(addresses.parse_log_out_url)] | None = None
    authority_url: Annotated[str, AfterValidator(addresses.parse_authority)] = ""
    issuer: Annotated[str, checked(addresses.parse_issuer)] | None = None
    allowed_tenants: tuple[Annotated[str, AfterValidator(addresses.parse_tenant)], ...] = ()
    client_id: Annotated[str, AfterValidator(values.parse_client_id)] = ""
    client_secret: Secret | None = None
    client_authentication: Literal[
        "client_secret_basic",
        "client_secret_basic_raw",
        "client_secret_post",
        "private_key_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth",
        "none",
    ] = "client_secret_basic"
    client_private_key: Secret | tuple[Secret, ...] | None = None
    client_key_id: tuple[Annotated[str, AfterValidator(values.parse_key_id)], ...] = ()
    token_endpoint_auth_signing_alg: SigningAlgorithm | None = None
    client_assertion_audience: Literal["token_endpoint", "issuer"] | None = None
    client_tls: ClientTls = ClientTls()
    tls_client_certificate_bound_access_tokens: bool = False
    dpop_bound_access_tokens: bool | None = None
    profile: Literal["fapi2"] | None = None
    id_token_signed_response_alg: SigningAlgorithm | None = None
    scopes: tuple[Annotated[str, AfterValidator(values.parse_scope)], ...] = ("openid", "email", "profile")
    pushed_authorization_requests: Literal["when_required", "always", "never"] = "when_required"
    response_mode: Literal["query", "form_post"] = "query"
    request_object_signing_alg: SigningAlgorithm | None = None
    extra_authorization_parameters: Annotated[dict[ParameterName, ParameterValue], AfterValidator(parse_parameters)] = (
        Field(default_factory=dict)
    )
    claims: ClaimNames = ClaimNames()
    groups_filter: tuple[Name, ...] = ()
    userinfo: Literal["always", "when_needed", "never"] = "always"
    require_verified_email: Literal["always", "when_present", "never"] = "when_present"
    verified_email_domains: tuple[Annotated[str, AfterValidator(values.parse_domain)], ...] = ()
    clock_skew: Skew = timedelta(seconds=30)
    ca: File | None = None
    email_domains: tuple[Annotated[str, AfterValidator(values.parse_domain)], ...] = ()
    refresh: Literal["before_expiry", "never"] = "before_expiry"
    refresh_before: Wait = timedelta(minutes=1)

    @property
    def client_private_keys(self) -> tuple[str, ...]:
        """PEM or JWK. The first signs; the provider knows all of them."""
        given = self.client_private_key
        listed = () if given is None else given if isinstance(given, tuple) else (given,)
        return tuple(key.get_secret_value() for key in listed)

    @property
    def assertion_audience(self) -> Literal["token_endpoint", "issuer"]:
        """The `aud` of client assertions; FAPI 2.0 Security Profile section 5.3.3.1 wants the issuer."""
        return self.client_assertion_audience or ("issuer" if self.profile == "fapi2" else "token_endpoint")

    @property
    def uses_dpop(self) -> bool:
        """Whether access tokens are bound to a key of each sign-in; `profile: fapi2` implies it where no certificate binds them."""
        if self.dpop_bound_access_tokens is not None:
            return self.dpop_bound_access_tokens
        return self.profile == "fapi2" and not self.tls_client_certificate_bound_access_tokens

    @property
    def issuers(self) -> tuple[str, ...]:
        """Each `iss` that its tokens may have; where only `authority_url` is known, it may end with a slash or not."""
        if self.issuer is not None:
            return addresses.issuers_of(self.issuer, self.allowed_tenants)
        issuer = self.authority_url.removesuffix("/")
        return issuer, f"{issuer}/"


class OpenID(ProviderKeys):
    """The only or first provider, and the toggles, which apply to every provider."""

    enabled: bool = True
    create_users: bool = False
    prevent_password_login: bool = False
    prevent_dashboard_password_login: bool = False
    unregistered_when_sso_only: Literal["create", "refuse"] | None = None
