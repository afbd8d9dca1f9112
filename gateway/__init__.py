"""Doorward: an OpenID Connect gateway in front of applications that cannot be changed.

Two planes and one gate::

    browser -> proxy/ (data plane: asyncio protocols) -> upstream
                 |
                 +-- gate/: canonical path -> password routes -> session -> rules
                 |
                 +-- web/ (control plane: aiohttp.web) -> provider, directory
                       oidc/  directory/  sessions/            Redis

The console (console/) has a process of its own, and is an upstream of the data plane.

Imports go one way only; a package imports itself and what stands to its left::

    languages -> errors -> config -> observability -> identity -> http -> policy -> redis_client -> sessions -> telemetry -> directory
      -> oidc -> token_refresh -> bearer -> gate -> pages -> sign_in -> proxy -> break_glass -> saved_settings -> rewriting -> hand_off
      -> held_forms -> web -> operations -> console -> runtime -> demo -> cli

Start reading at `gate/admission.py`: it is where one request is admitted or not. `runtime/composition.py` puts the parts together.
"""

__version__ = "0.1.0"
