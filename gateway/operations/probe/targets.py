"""What a probe of a configuration sends, and where: the requests of each app, at each of its hosts."""

from collections.abc import Iterator, Sequence

from gateway.config.addresses import canonical_host, parse_listen
from gateway.config.schema import App, Config, PasswordRule
from gateway.operations.probe.requests import ProbeRequest
from gateway.operations.probe.runner import plan_for
from gateway.operations.probe.wire import GatewayAddress, parse_gateway_address

Rules = Sequence[tuple[str, PasswordRule]]
ProbeTarget = tuple[GatewayAddress, Sequence[ProbeRequest]]


def hosts_at(
    gateway: GatewayAddress, config: Config, surface: str | None = None
) -> Iterator[tuple[GatewayAddress, App]]:
    """The hosts to probe, each with its app: the gateway's own host, or all of a surface."""
    scheme = config.external_url_scheme
    for app in config.apps.values():
        for host in app.hosts:
            if app.surface == surface if surface is not None else canonical_host(host, scheme) == gateway.host.lower():
                yield gateway.under(host), app


def own_targets(config: Config, every: int = 1) -> list[ProbeTarget]:
    """All hosts of all apps, by this gateway's own listener. Raises ValueError where a probe cannot connect to it."""
    address = parse_listen(config.listen)
    if address.path is not None:
        raise ValueError("listen is a unix socket; allowed: doorward probe URL, from where browsers come")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - where a connection goes
    connect = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    scheme = "https" if config.tls.certificate is not None else "http"
    return [
        (parse_gateway_address(f"{scheme}://{name}", connect), plan_for(app, every=every))
        for app in config.apps.values()
        for name in app.hosts
    ]
