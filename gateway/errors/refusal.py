"""What every refusal carries. Pure."""

from typing import Any, ClassVar


class Refusal(Exception):
    """A request that is not served as asked.

    `detail` goes to the log and never to the client. `facts` are values the page may show (already trusted or escaped by the
    template). `retry_after` is in seconds. `close` ends the client's connection: its framing can no longer be believed.
    `fields` are the header fields that HTTP wants in an answer with this status.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong"
    message: ClassVar[str] = "The request could not be completed. Please try again."
    close: ClassVar[bool] = False
    fields: tuple[tuple[str, str], ...] = ()

    def __init__(self, detail: str = "", *, retry_after: int | None = None, **facts: Any) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.retry_after = retry_after
        self.facts = facts
