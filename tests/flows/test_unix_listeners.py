"""`listen` and `admin_listen` as unix sockets."""

import asyncio
import signal
import stat
from pathlib import Path
from typing import Any

from gateway.sessions.keyring import new_key
from tests.fakes.recorder import RecordingUpstream
from tests.fakes.running import running
from tests.fakes.wire import Wire

SECRETS = {"DOORWARD_TEST_KEY": new_key(), "DOORWARD_TEST_SECRET": "very-secret-client-secret"}


async def test_both_listeners_may_be_unix_sockets_with_a_mode(tmp_path: Path) -> None:
    """C-34."""
    paths = {key: tmp_path / key for key in ("listen", "admin_listen")}
    sections: dict[str, Any] = {"listen_mode": "0600", **{key: f"unix:{path}" for key, path in paths.items()}}
    upstream = RecordingUpstream()
    await upstream.start()
    async with running(tmp_path, upstream.url, environ=SECRETS, **sections) as door:
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths.values()} == {0o600}
        for key, head in (
            ("listen", f"GET /open/x HTTP/1.1\r\nHost: portal.localhost:{door.port}\r\n\r\n"),
            ("admin_listen", "GET /ping HTTP/1.1\r\nHost: admin\r\n\r\n"),
        ):
            wire = Wire(*await asyncio.open_unix_connection(paths[key]))
            await wire.send(head.encode())
            assert (await wire.response()).status == 200
            await wire.close()
        door.process.send_signal(signal.SIGTERM)
        await door.process.wait()
        assert not any(path.exists() for path in paths.values())
    await upstream.close()
