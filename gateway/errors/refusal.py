"""What every refusal carries. Pure."""

from typing import Any, ClassVar, Literal

from gateway.languages.message import Message

#: What may help after a refusal: repeat the request, sign in, with another account or at another provider, go elsewhere.
WayOn = Literal["continue", "sign_in", "retry", "another_account", "another_provider", "home", "sign_out"]
WaysOn = tuple[WayOn, ...]


class Refusal(Exception):
    """A request that is not served.

    `title` and `message` are for the person, in the language of the page; `status` and `code` for programs. `detail` is written to the
    log and never sent to the client. `facts` are values that the page may show; its template escapes them. `retry_after` is in seconds.
    `close` ends the client's connection, because the framing of what follows is unknown. `fields` are the header fields that HTTP requires
    with this status. `ways_on` are the links of the page, the most helpful first; `pages.links` makes them. No page is a dead end.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[Message] = Message("internal_error.title", "Something went wrong")
    message: ClassVar[Message] = Message(
        "internal_error.message", "Your request could not be completed. Please try again."
    )
    ways_on: ClassVar[WaysOn] = ("retry", "home")
    close: ClassVar[bool] = False
    fields: tuple[tuple[str, str], ...] = ()

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **facts: Any) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.retry_after = retry_after
        self.facts = facts
