"""Listening unix sockets."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.runtime.sockets import Listeners, remove_socket, unix_socket


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/nowhere")])
def test_a_file_that_is_no_socket_is_never_deleted(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """C-34."""
    path = tmp_path / "door"
    make(path)
    with pytest.raises(OSError, match="a file that is no socket"):
        Listeners(f"unix:{path}", 1, 0o660)
    assert not remove_socket(str(path))
    assert os.path.lexists(path)


def test_a_file_that_took_the_sockets_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "door"
    listeners = Listeners(f"unix:{path}", 1, 0o660)
    path.unlink()
    path.write_text("mine")
    listeners.close()
    assert path.read_text() == "mine"


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_socket_has_its_mode_whatever_the_umask_is(tmp_path: Path, mode: int, umask: int) -> None:
    """C-34."""
    path, before = tmp_path / "door", os.umask(umask)
    try:
        unix_socket(str(path), mode).close()
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_stale_socket_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "door"
    unix_socket(str(path), 0o660).close()
    assert not connects(path)
    listeners = Listeners(f"unix:{path}", 2, 0o660)
    assert connects(path)
    with pytest.raises(OSError, match="another process"):
        Listeners(f"unix:{path}", 1, 0o660)
    assert connects(path)
    listeners.close()
    assert not path.exists()
