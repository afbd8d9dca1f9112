"""Explain: what would happen to one request, step by step, without sending it. The form of `doorward explain`."""

from typing import Final

from gateway.config.values import parse_duration
from gateway.console.page import ConsoleParts, Page, View
from gateway.console.request import ConsoleRequest
from gateway.errors.refusal import Refusal
from gateway.operations.explain import AssumedSignIn, explain

_FIELDS: Final = ("method", "url", "as", "groups", "acr", "signed_in_ago", "headers", "body")


async def _show(request: ConsoleRequest, parts: ConsoleParts) -> View:
    given = {name: request.query.one(name) or "" for name in _FIELDS}
    steps: list[tuple[str, str]] = []
    problems: list[str] = []
    if given["url"]:
        try:
            steps = explain(
                parts.config, given["method"].strip() or "GET", given["url"].strip(), sign_in=_sign_in(given),
                headers=[line for line in given["headers"].splitlines() if line.strip()], body=given["body"] or None,
            )  # fmt: skip
        except (Refusal, ValueError) as error:
            problems.append(str(error))
    return View(
        status=400 if problems else 200,
        data={
            "asked": {**given, "method": given["method"] or "GET"},
            "steps": [{"name": name, "text": text} for name, text in steps],
            "problems": problems,
        },
    )


def _sign_in(given: dict[str, str]) -> AssumedSignIn | None:
    """The person who is assumed to ask; None for a stranger. Raises ValueError."""
    if not given["as"].strip():
        return None
    ago = parse_duration(given["signed_in_ago"].strip() or "0s")
    groups = tuple(name.strip() for name in given["groups"].split(",") if name.strip())
    return AssumedSignIn(email=given["as"].strip(), groups=groups, acr=given["acr"].strip() or None, signed_in_ago=ago)


PAGES: Final = (Page(path="/console/explain", title="Explain", template="explain.html", show=_show, menu="Explain"),)
