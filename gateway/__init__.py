"""Doorward: an OpenID Connect gateway in front of applications that cannot be changed.

Two planes and one gate::

    browser -> proxy/ (data plane: asyncio protocols) -> upstream
                 |
                 +-- gate.py: canonical path -> policy -> session -> identity
                 |
                 +-- web/ (control plane: aiohttp.web) -> provider, directory
                       oidc/  directory/  sessions/            Redis

Imports go one way only; a package imports itself and what stands to its left::

    errors -> config -> log -> histogram -> audit -> message -> identity -> identity_headers -> assertion -> policy -> sessions -> leases
      -> directory -> oidc -> refresh -> rewriting -> hand_off -> sites -> decisions -> gate -> proxy -> web -> tls -> health -> app
      -> worker -> listening -> readiness -> admin -> worker_process -> workers -> reasons
      -> explain -> checkup -> probe -> demo -> commands -> cli

`message` holds the head of a request as the parser left it: the gate, the policy and the proxy all read it.
Start reading at `gate.py`: it is where one request is admitted or not.
"""

__version__ = "0.1.0"
