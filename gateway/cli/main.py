"""The command line: all commands of `doorward`."""

from typing import Annotated, ClassVar

import typer

from gateway import __version__
from gateway.cli.lazy import LazyGroup


class Commands(LazyGroup):
    """All commands."""

    table: ClassVar = {
        "run": ("run", "run", "Run the gateway."),
        "reload": ("run", "reload", "Have a running gateway read CONFIG again, and wait for the result."),
        "check": ("run", "check", "Say every problem of CONFIG at once."),
        "doctor": ("doctor", "doctor", "Say of every part of a set-up its state, what that means, and what to do."),
        "login-test": (
            "login_test",
            "login_test",
            "Sign in for a test: no session is issued and nothing is created.",
        ),
        "explain": (
            "explain",
            "explain",
            "Say what would happen to one request: the rule, the decision, the headers that the upstream would get.",
        ),
        "probe": ("probe", "probe", "Send every spelling of every password rule and access rule to a gateway."),
        "demo": (
            "run",
            "demo",
            "Run the whole product on this machine: a provider, a portal, a dashboard, a directory, and the gateway in front.",
        ),
        "provision": (
            "provisioning",
            "provision",
            "Find or create one person's account, bring its fields up to date, or suspend it.",
        ),
        "unlink": (
            "provisioning",
            "unlink",
            "Forget whose the account with this address is: the next person who signs in with the address gets it.",
        ),
        "reconcile": (
            "provisioning",
            "reconcile",
            "Accounts whose person was not seen, and persons whose account is gone.",
        ),
        "break-glass": (
            "break_glass",
            "app",
            "Let an address range use an app's own password login for a while: for when single sign-on is broken.",
        ),
        "keys": ("keys", "app", "Keys that encrypt sessions, sign assertions, and authenticate at a provider."),
        "sessions": ("sessions", "app", "Who is signed in, and ending that."),
        "settings": (
            "settings",
            "app",
            "What is saved over the `openid` section of CONFIG: read it, change it, go back.",
        ),
    }


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False) -> None:
    """Doorward: an OpenID Connect gateway in front of portals and dashboards that cannot be changed."""
    if version:
        typer.echo(f"doorward {__version__}")
        raise typer.Exit


def main() -> None:
    """The entry of the `doorward` command."""
    app(prog_name="doorward")


if __name__ == "__main__":
    main()
