"""A short probe: the plain requests of every password rule and access rule, and one in a thousand of their other spellings."""

from typing import Final

from gateway.config.schema import App, Config
from gateway.config.toggles import password_routes_closed
from gateway.gate.site import app_routes
from gateway.operations.doctor.front import FrontAddress
from gateway.operations.doctor.line import Line, broken, ok, unknown, warning
from gateway.operations.probe.runner import NotDoorward, Probe, plan_for
from gateway.operations.probe.wire import GatewayAddress
from gateway.policy.rules import restricting_rules

_EVERY: Final = 1000
_RATE: Final = 500
_SHOWN: Final = 3
_WHOLE: Final = "`doorward probe` tries every spelling"


async def door_lines(config: Config, front: FrontAddress) -> list[Line]:
    """A line for each app that has password routes to close or rules that restrict, at its first host."""
    lines = []
    for name, app in config.apps.items():
        route = next(route for route in app_routes(config) if route.name == name)
        closed = password_routes_closed(config.openid, app.surface)
        if config.openid.enabled and (closed or list(restricting_rules(app))):
            lines.append(await _probe(f"apps.{name} password doors", app, front.of(route), closed=closed))
        elif app.password_routes:
            means = "the prevent_* toggle of its surface is off: people may use the application's own password login"
            lines.append(
                warning(
                    f"apps.{name} password doors",
                    means,
                    "switch the toggle on when every person can sign in at the provider",
                )
            )
    return lines


async def _probe(called: str, app: App, gateway: GatewayAddress, *, closed: bool) -> Line:
    # While passwords are allowed, the password rules are open on purpose.
    requests = [each for each in plan_for(app, every=_EVERY) if closed or each.restricting]
    try:
        outcome = await Probe(_RATE).run([(gateway, requests)])
    except NotDoorward as error:
        return unknown(called, str(error), "mend the public address first")
    sent = len(outcome.results)
    if outcome.passed:
        shown = ", ".join(
            f"{each.request.method} {ascii(each.request.target.decode('latin-1'))[1:-1]} ({each.finding.text})"
            for each in outcome.passed[:_SHOWN]
        )
        means = f"{len(outcome.passed)} of {sent} requests got through to the application: {shown}"
        return broken(called, means, f"see that nothing leads past the gateway, and add the rule; {_WHOLE}")
    if outcome.unanswered:
        return unknown(called, f"{len(outcome.unanswered)} of {sent} requests had no answer that says so", _WHOLE)
    return ok(called, f"none of {sent} requests got through; {_WHOLE}")
