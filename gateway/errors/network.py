"""Why a connection failed, in words for an operator: the host, and DNS, the certificate, a refusal, a reset or silence. Pure.

Client libraries raise classes of their own around the system's error; the words are those of the innermost one.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")
_LONGEST: Final = 200
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})


def network_failure(peer: str, error: BaseException) -> str:
    """`peer` and the reason, as `login.example.com:443: the connection was refused`."""
    return f"{peer}: {network_reason(error)}"


def network_reason(error: BaseException) -> str:
    """One bounded line. An error that is none of the network is quoted."""
    for each in (found := [*causes(error)])[::-1]:
        if isinstance(each, OSError) and (reason := _reason(each)):
            return reason
    text = _quoted(str(found[0]))
    return text or type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the outermost first."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _reason(error: OSError) -> str | None:
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({_system_text(error)})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, ConnectionError):
        return "the connection was reset"
    if isinstance(error, FileNotFoundError):
        return "the socket or file does not exist"
    return _system_text(error) or None


def _tls_reason(error: ssl.SSLError) -> str | None:
    why = getattr(error, "verify_message", None)  # a library's own class of this kind has none
    if why:
        return f"its certificate is not valid: {_quoted(why)}"
    if error.reason in _NOT_TLS:
        return f"it does not answer with TLS ({_words(error.reason)})"
    return f"the TLS handshake failed ({_words(error.reason)})" if error.reason else None


def _words(reason: str) -> str:
    """OpenSSL's name of an error, as words."""
    return _quoted(reason.lower().replace("_", " "))


def _system_text(error: OSError) -> str:
    return _quoted(error.strerror or str(error))


def _quoted(text: str) -> str:
    """A foreign text as one bounded line; an error's sentence goes on after it, so it begins and ends as a part of one."""
    line = _UNPRINTABLE.sub(" ", text[: 4 * _LONGEST]).strip()[:_LONGEST].rstrip(".")
    return line[:1].lower() + line[1:] if line[1:2].islower() else line
