"""The OpenID Provider of the benchmark, in a process of its own: `python -m tests.bench.provider PORT KEY`, a file with a private JWK."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from joserfc.jwk import RSAKey

from gateway.demo.provider import DemoClient, DemoProvider
from tests.bench.parties import CLIENT_ID, CLIENT_SECRET, PERSON, REDIRECT_URIS


async def serve(port: int, key: RSAKey) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = DemoClient(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        authentication="client_secret_post",
        redirect_uris=REDIRECT_URIS,
    )
    provider = DemoProvider([client], [PERSON], key=key)
    await provider.start(port=port)
    await stop.wait()
    await provider.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), RSAKey.import_key(json.loads(Path(sys.argv[2]).read_text()))))
