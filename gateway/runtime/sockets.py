"""The listening sockets: the parent process opens them, the workers serve them, and they outlive every worker."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Sequence

from gateway.config.addresses import Listen, parse_listen


class Listeners:
    """The listening sockets of `workers` workers: a TCP socket for each, or one unix socket for all, whose file has the permissions `mode`.

    `inherited` sockets take their place; all workers serve all of them. Raises OSError that names the address.
    """

    def __init__(self, listen: str, workers: int, mode: int, inherited: Sequence[socket.socket] = ()) -> None:
        self.workers = workers
        address = parse_listen(listen)
        self._path = address.path if not inherited else None
        self._shared = bool(inherited)
        if inherited:
            for sock in inherited:
                _refuse_other_address(sock, address, listen)
            self.sockets = list(inherited)
        elif address.path is not None:
            self.sockets = [unix_socket(address.path, mode)]
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
        """Close the sockets, which refuses new connections, and delete the file of a unix socket."""
        if self._path is not None:
            remove_socket(self._path)  # while the socket listens, so that no other process can have taken its place
        for sock in self.sockets:
            sock.close()


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


def unix_socket(path: str, mode: int) -> socket.socket:
    """A listening unix socket, whose file has the permissions `mode`. Replaces a stale one.

    Raises OSError when another process listens on it, and for a file that is no socket.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            if other.connect_ex(path) == 0:
                raise OSError(errno.EADDRINUSE, "another process does")
        if not remove_socket(path):
            raise OSError(errno.EEXIST, "there is a file that is no socket: remove it, or name another path")
        # SECURITY: the file has its permissions from the start: who may connect stands where trusted_proxies says 127.0.0.1 does (C-34).
        before = os.umask(~mode & 0o777)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(4096)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error.strerror}") from error
    return sock


def remove_socket(path: str) -> bool:
    """Delete the file of a unix socket, if there is one. False: there is a file that is no socket; it stays."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        os.unlink(path)
    except FileNotFoundError:
        pass
    return True
