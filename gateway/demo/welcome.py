"""What `doorward demo` prints once everything runs: where to look, who to be, what to try."""

from datetime import date, timedelta
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.demo.people import MEMBER, PEOPLE
from gateway.demo.settings import Ports


def print_welcome(console: Console, ports: Ports, today: date, folder: Path) -> None:
    console.print()
    console.print(Text("Doorward is up, with a members portal and a dashboard behind it.", style="bold"))
    console.print(_places(ports))
    console.print(_people())
    console.print("The sign-in page lets you choose one of them; it asks for no password.")
    console.print()
    console.print(Text("Three things to try", style="bold"))
    for number, (what, how) in enumerate(_ideas(ports, today), 1):
        console.print(Text(f" {number}. {what}"))
        console.print(Text(f"    {how}", style="cyan"), soft_wrap=True)
    console.print()
    console.print(
        "Password logins are off for portal and dashboard. Who is not registered is created at the first sign-in:"
        " this demo sets [bold]unregistered_when_sso_only: create[/bold]; left out, they would be refused."
    )
    console.print(Text(f"Logs and configuration, until the demo ends: {folder}"), soft_wrap=True)
    console.print(Text("Ctrl-C ends all of it.", style="bold"))


def _places(ports: Ports) -> Table:
    table = Table(box=box.ROUNDED, show_header=False, title=None, pad_edge=True)
    table.add_column(style="cyan", no_wrap=True, overflow="fold")
    table.add_column()
    table.add_row(f"http://{ports.portal_host}/", "a sample members portal")
    table.add_row(f"http://{ports.dashboard_host}/", "its dashboard, for the group staff")
    table.add_row(f"http://{ports.console_host}/", "the console of Doorward, for the group staff")
    table.add_row(f"{ports.issuer}/", "the provider that signs people in")
    table.add_row(f"http://127.0.0.1:{ports.admin}/metrics", "admin listener: /ping, /ready, /metrics")
    return table


def _people() -> Table:
    table = Table(box=box.ROUNDED, header_style="dim", pad_edge=True)
    table.add_column("Sign in as", style="cyan", no_wrap=True)
    table.add_column("E-mail", no_wrap=True)
    table.add_column("Who is")
    for person in PEOPLE:
        table.add_row(person.name, person.email, person.role)
    return table


def _ideas(ports: Ports, today: date) -> list[tuple[str, str]]:
    day = today + timedelta(days=1)
    return [
        (
            "A deep link: after the sign-in you are where you wanted to go.",
            f"http://{ports.portal_host}/bookings?day={day.isoformat()}",
        ),
        (
            "The portal's own password login, with the right password: refused.",
            f"curl -i -H 'Host: {ports.portal_host}' http://127.0.0.1:{ports.gateway}/api/token"
            f" -d grant_type=password -d username={MEMBER.email} -d password={MEMBER.password}",
        ),
        (
            "Sign in to both as the admin, then sign out of one: the other has ended too.",
            f"http://{ports.dashboard_host}/",
        ),
    ]
