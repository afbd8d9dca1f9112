"""What `check --online` asks of each dependency, as lines of the check-up."""

from collections.abc import Iterator
from typing import Final

from gateway.config.checks.safety import warnings
from gateway.config.schema import Config
from gateway.operations.check import CheckResult, check_all
from gateway.operations.doctor.line import Line, broken, ok, unknown, warning

# By the end of a result's name: what "ok" means, and what to do where it is not.
_WORDS: Final = {
    "redis": (
        "it takes every command that Doorward sends, and announces changes (CLIENT TRACKING)",
        "start Redis, or mend redis.url and the user's rights; until then every request that needs a session is 503",
    ),
    "discovery": (
        "the provider's metadata are there and are for this authority",
        "compare authority_url with the provider's own, letter by letter, and let this machine reach it; until then no person can sign in",
    ),
    "keys": (
        "the provider's keys can be read",
        "let this machine reach the jwks_uri of the metadata; until then no ID Token can be checked, and no person can sign in",
    ),
    "client authentication": (
        "the provider accepts this client's secret or key",
        "copy client_id and client_secret from the provider once more; a secret may have ended there",
    ),
    "claims": (
        "the claims that the file maps are there",
        "compare the provider's claims mapping (openid.claims) with what it puts into its tokens; a claim that it never sends grants nothing",
    ),
    "directory": (
        "it answers, and accepts the credentials",
        "mend directory.base_url or its credentials; until then no person gets an account, and sign-ins wait on a page",
    ),
    "upstream": (
        "it accepts connections",
        "start the application, or mend the address; until then its people get 502",
    ),
}  # fmt: skip


async def dependency_lines(config: Config) -> list[Line]:
    """A line for Redis, discovery, keys and client authentication of each provider, the directory, and every upstream."""
    return [_line(result) for result in await check_all(config)]


def _line(result: CheckResult) -> Line:
    means, action = next(words for end, words in _WORDS.items() if result.name.endswith(end))
    if result.problem is None:
        return ok(result.name, means)
    return (unknown if result.unknown else broken)(result.name, result.problem, action)


def configuration_lines(config: Config) -> Iterator[Line]:
    """A line for each warning that `check` prints, or one where it prints none."""
    found = warnings(config)
    for text in found:
        key, _, what = text.partition(": ")
        yield warning(f"configuration {key}", what, "change the key, or know that you mean it")
    if not found:
        yield ok("configuration", "there is nothing to warn of")
