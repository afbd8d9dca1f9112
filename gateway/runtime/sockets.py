"""The listening sockets: the parent process opens them, the workers serve them, and they outlive every worker."""

import contextlib
import errno
import os
import socket
from collections.abc import Sequence

from gateway.config.addresses import Listen, parse_listen


class Listeners:
    """The listening sockets of `workers` workers: a TCP socket for each, or one unix socket for all. Raises OSError that names the address.

    `inherited` sockets take their place; all workers serve all of them.
    """

    def __init__(self, listen: str, workers: int, inherited: Sequence[socket.socket] = ()) -> None:
        self.workers = workers
        address = parse_listen(listen)
        self._path = address.path if not inherited else None
        self._shared = bool(inherited)
        if inherited:
            for sock in inherited:
                _refuse_other_address(sock, address, listen)
            self.sockets = list(inherited)
        elif address.path is not None:
            self.sockets = [_unix_socket(address.path)]
        else:
            # A socket without SO_REUSEPORT detects another listener; those with it would not.
            _tcp_socket(address, shared=False).close()
            self.sockets = [_tcp_socket(address, shared=True) for _ in range(workers)]

    @property
    def all(self) -> frozenset[int]:
        """The index of every socket."""
        return frozenset(range(len(self.sockets)))

    def of(self, slot: int) -> frozenset[int]:
        """The indexes of the sockets that the worker of this slot serves."""
        return self.all if self._shared else frozenset({slot % len(self.sockets)})

    def close(self) -> None:
        """Close the sockets, which refuses new connections, and delete the path of a unix socket."""
        for sock in self.sockets:
            sock.close()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)


def _refuse_other_address(sock: socket.socket, address: Listen, listen: str) -> None:
    """What `check` says about `listen` must be true of the socket. Raises OSError."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        same, found = name == address.path, f"unix:{name}"
    else:
        host, port = name[:2]
        same = address.path is None and port == address.port and host in _addresses(address.host, sock.family)
        found = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not same:
        raise OSError(errno.EINVAL, f"the socket that was handed over listens on {found}, but listen is {listen}")


def _addresses(host: str, family: int) -> set[str]:
    with contextlib.suppress(OSError):
        return {str(each[4][0]) for each in socket.getaddrinfo(host, None, family)}
    return set()


def _tcp_socket(address: Listen, *, shared: bool) -> socket.socket:
    """A bound socket; `shared` ones listen, one for each worker on the same port. Raises OSError."""
    host, port = address.host, address.port
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
        if shared:
            sock.listen(4096)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return sock


def _unix_socket(path: str) -> socket.socket:
    """A listening unix socket. Replaces a stale one. Raises OSError when another process listens on it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if other.connect_ex(path) == 0:
            sock.close()
            raise OSError(errno.EADDRINUSE, f"cannot listen on unix:{path}: another process does")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock.bind(path)
    sock.listen(4096)
    return sock
