"""What is asked about a person each time the provider renewed their tokens, before anything of it counts.

The seam between token refresh and whoever else may know that somebody is no longer welcome: the directory, for one.
"""

from collections.abc import Awaitable, Callable

from gateway.identity import Identity
from gateway.sessions.session import Session

#: Takes the session as it is and the identity that the provider's new claims give (without directory facts), returns the
#: identity to go on with. A Refusal with status 403 ends the session; any other Refusal keeps the session and its
#: directory facts as they are, and the next refresh asks again.
Recheck = Callable[[Session, Identity], Awaitable[Identity]]


async def keep_directory_facts(session: Session, identity: Identity) -> Identity:
    """Nobody else is asked: what the directory said at sign-in stays."""
    return identity.with_directory(session.identity.directory)
