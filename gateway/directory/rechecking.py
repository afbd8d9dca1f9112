"""Registered again: what a token refresh asks the directory (`directory.recheck`)."""

from gateway.config.schema import Config
from gateway.config.toggles import registration
from gateway.directory.provisioner import Provisioner
from gateway.identity import Identity
from gateway.sessions.recheck import Recheck, keep_directory_facts
from gateway.sessions.session import Session


def recheck_of(config: Config, provisioner: Provisioner) -> Recheck:
    """What `config` says is asked about a person whose tokens were renewed."""
    if config.directory.kind == "none" or config.directory.recheck == "login":
        return keep_directory_facts

    async def ask_again(session: Session, identity: Identity) -> Identity:
        app = config.apps.get(session.app)
        asked = "skip" if app is None else registration(config.openid, app.surface, config.directory.kind)
        return await provisioner.recheck(session.identity, identity, app=session.app, registration=asked)

    return ask_again
