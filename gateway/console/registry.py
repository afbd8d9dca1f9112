"""All pages of the console. Those with a name in the menu stand in it in this order."""

from typing import Final

from gateway.console.page import Page
from gateway.console.pages import check_up, doors, events, explain, overview, sessions, settings, settings_edit, try_it

PAGES: Final[tuple[Page, ...]] = (
    *overview.PAGES,
    *sessions.PAGES,
    *events.PAGES,
    *doors.PAGES,
    *explain.PAGES,
    *try_it.PAGES,
    *settings.PAGES,
    *settings_edit.PAGES,
    *check_up.PAGES,
)
