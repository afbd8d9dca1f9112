"""All pages of the console. Those with a name in the menu stand in it in this order."""

from typing import Final

from gateway.console.page import Page
from gateway.console.pages import doors, events, explain, overview, sessions, settings, settings_edit

PAGES: Final[tuple[Page, ...]] = (
    *overview.PAGES,
    *sessions.PAGES,
    *events.PAGES,
    *doors.PAGES,
    *explain.PAGES,
    *settings.PAGES,
    *settings_edit.PAGES,
)
