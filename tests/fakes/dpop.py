"""A provider that binds access tokens to keys (RFC 9449): it checks every proof, and may ask for nonces."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry

from gateway.demo.provider.pages import answer, oauth_error
from gateway.demo.provider.sign_out import SignOut
from gateway.demo.provider.tokens import Grant, Issued
from tests.fakes.provider import MISSING, MisbehavingProvider

_JKT = web.RequestKey("jkt", str)


class ProofInvalid(Exception):
    """What is wrong with a proof."""


class DpopProvider(MisbehavingProvider):
    """`nonces`: it takes the last of its nonces alone, and gives a new one with each response where `rotating`.

    `asked_for` has each `dpop_jkt` of authorization requests. `before_proof` runs before each check. `proofs` has the claims and the `alg` of every proof that was right; `refused` says what was wrong with the others.
    """

    def __init__(self, *, nonces: bool = False, rotating: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.nonces = nonces
        self.rotating = rotating
        self.algorithms = ["ES256", "EdDSA"]
        self.proofs: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.nonce = "nonce-0"
        self.before_proof: Callable[[], None] = lambda: None
        self._made = 0
        self._jtis: set[str] = set()
        self._bound: dict[str, str] = {}
        self.asked_for: set[str] = set()

    def metadata(self) -> dict[str, Any]:
        return {"dpop_signing_alg_values_supported": self.algorithms} | super().metadata()

    def add_routes(self, app: web.Application, prefix: str, sign_out: SignOut) -> None:
        super().add_routes(app, prefix, sign_out)
        app.middlewares.append(self._demand)

    def new_nonce(self) -> None:
        self._made += 1
        self.nonce = f"nonce-{self._made}"

    @web.middleware
    async def _demand(self, request: web.Request, handler: Any) -> web.StreamResponse:
        endpoint = request.path.rpartition("/")[2]
        if endpoint == "authorize" and "dpop_jkt" in request.query:
            self.asked_for.add(request.query["dpop_jkt"])
        if endpoint not in ("token", "userinfo"):
            plain: web.StreamResponse = await handler(request)
            return plain
        try:
            jkt = self._checked(request)
        except ProofInvalid as wrong:
            self.refused.append(str(wrong))
            return self._refusal(endpoint, "use_dpop_nonce" if str(wrong) == "nonce" else "invalid_dpop_proof")
        if endpoint == "token":
            request[_JKT] = jkt
        elif self._bound.get(request.headers.get("Authorization", "").removeprefix("DPoP ")) != jkt:
            return self._refusal(endpoint, "invalid_token")
        else:  # the demo's own handler knows Bearer alone
            fields = request.headers.copy()
            fields["Authorization"] = fields["Authorization"].replace("DPoP ", "Bearer ")
            request = request.clone(headers=fields)
            grant = self.tokens.access(fields["Authorization"].removeprefix("Bearer "))
            if grant is None:
                return self._refusal(endpoint, "invalid_token")
            return self._with_nonce(await self.userinfo_answer(request, grant))
        response: web.StreamResponse = await handler(request)
        return self._with_nonce(response)

    def _with_nonce(self, response: web.StreamResponse) -> web.StreamResponse:
        if self.rotating:
            self.new_nonce()
            response.headers["DPoP-Nonce"] = self.nonce
        return response

    def _refusal(self, endpoint: str, error: str) -> web.StreamResponse:
        challenge = {} if endpoint == "token" else {"WWW-Authenticate": f'DPoP error="{error}"'}
        response = oauth_error(error, "no", 400 if endpoint == "token" else 401, challenge)
        if error == "use_dpop_nonce":
            response.headers["DPoP-Nonce"] = self.nonce
        return response

    def _checked(self, request: web.Request) -> str:
        """The thumbprint of the proof's key. Raises ProofInvalid."""
        self.before_proof()
        proofs = request.headers.getall("DPoP", [])
        if len(proofs) != 1:
            raise ProofInvalid("not one proof")
        header = json.loads(_decoded(proofs[0].partition(".")[0]))
        if set(header["jwk"]) - {"kty", "crv", "x", "y"} or header["typ"] != "dpop+jwt":
            raise ProofInvalid("the header")
        key = JWKRegistry.import_key(header["jwk"])
        try:
            claims = jwt.decode(proofs[0], key, algorithms=self.algorithms).claims
        except (JoseError, ValueError) as error:
            raise ProofInvalid("the signature") from error
        url = f"{self.issuer}{request.path}"
        token = request.headers.get("Authorization", "").removeprefix("DPoP ")
        wanted = {"htm": request.method, "htu": url}
        if request.path.endswith("userinfo"):
            wanted["ath"] = _encoded(hashlib.sha256(token.encode()).digest())
        if {name: claims.get(name) for name in wanted} != wanted:
            raise ProofInvalid("the claims")
        if claims["jti"] in self._jtis:
            raise ProofInvalid("used twice")
        self._jtis.add(claims["jti"])
        if self.nonces and claims.get("nonce") != self.nonce:
            raise ProofInvalid("nonce")
        jkt = key.thumbprint()
        if request.path.endswith("token") and self.asked_for and jkt not in self.asked_for:
            raise ProofInvalid("another key than that of the authorization request")
        self.proofs.append({**claims, "alg": header["alg"], "jkt": jkt})
        return jkt

    async def token_answer(self, request: web.Request, grant: Grant, issued: Issued) -> web.StreamResponse:
        self._bound[issued.access_token] = request[_JKT]
        if self.before_tokens is not None:
            await self.before_tokens()
        said = {**self.token_response(grant, issued), "token_type": "DPoP", **self.told.token}
        return answer({name: value for name, value in said.items() if value is not MISSING})


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
