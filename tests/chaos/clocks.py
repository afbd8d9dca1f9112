"""The wall clock of the gateway's machine jumps, for the gateway alone (D-09, C-46), by libfaketime (Debian: faketime).

Workers get next to nothing of the environment, so the library is loaded by what Python itself reads at its start: a `sitecustomize` on PYTHONPATH
that begins the same process again with the library. The code of the product is what it always is.
"""

import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from tests.chaos.stage import HOST, ChaosFailed, Stage
from tests.chaos.trial import Fault, Proof
from tests.chaos.wire import Client

_HOUR: Final = 3600
_BEGIN_AGAIN: Final = """import os, sys
if "LD_PRELOAD" not in os.environ:
    fake = {{"LD_PRELOAD": {library!r}, "FAKETIME_TIMESTAMP_FILE": {file!r}, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}}
    os.execve(sys.executable, sys.orig_argv, {{**os.environ, **fake}})
"""


def library() -> str:
    """Where libfaketime is; installed where that can be done. Raises ChaosFailed."""
    if not (found := sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))):
        if shutil.which("apt-get") is not None and os.geteuid() == 0:
            environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            apt = ["apt-get", "--quiet", "--quiet", "--yes", "install", "--no-install-recommends", "faketime"]
            subprocess.run(apt, check=False, env=environ, stdout=subprocess.DEVNULL)
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise ChaosFailed("libfaketime is not here; on Debian, as root: apt-get install faketime")
    return str(found[0])


def faked(folder: Path) -> dict[str, str]:
    """What a replica's environment needs; its clock follows the file `clock` in the folder from then on."""
    home = folder / "faked"
    home.mkdir()
    file = folder / "clock"
    file.write_text("+0\n")
    (home / "sitecustomize.py").write_text(_BEGIN_AGAIN.format(library=library(), file=str(file)))
    return {"PYTHONPATH": str(home)}


def _jump(seconds: int) -> Fault:
    @asynccontextmanager
    async def happening(stage: Stage, proof: Proof) -> AsyncIterator[None]:
        (stage.folder / "clock").write_text(f"{seconds:+d}\n")
        off = [await _off(one.port) for one in stage.replicas]
        yield
        (stage.folder / "clock").write_text("+0\n")
        if all(abs(one - seconds) < 60 for one in off):
            proof.text = f"the replicas' Date is {off[0]:+.0f} s and {off[1]:+.0f} s off"

    name = f"the gateway's clock 1 h {'forward' if seconds > 0 else 'back'}"
    return Fault(name=name, happening=happening, sign_ins=2, untouched=True)


async def _off(port: int) -> float:
    """How far the Date of a page of ours is from this process's time."""
    client = Client(port)
    answer = await client.ask(f"GET /page HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    client.drop()
    return parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()


FAULTS: Final = (_jump(_HOUR), _jump(-_HOUR))
