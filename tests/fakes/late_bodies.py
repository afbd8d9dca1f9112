"""A server that announces nothing, and sends a body where there is none, 50 ms after the head: to HEAD, with a 204 and with a 304.

Run as a program: `python -m tests.fakes.late_bodies PORT`. It answers `/assets/own/…` as the application of tests/servers does.
"""

import asyncio
import sys

LATE = 0.05  # seconds; how late does not matter, only that the head is read without it
STRAY = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\nEVIL!!"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split(" ", 2)
            status = {"/assets/empty": "204 No Content", "/assets/kept": "304 Not Modified"}.get(target, "200 OK")
            if method == "HEAD" or status != "200 OK":
                writer.write(f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\n".encode())
                await asyncio.sleep(LATE)
                writer.write(STRAY)
                continue
            body = f"route=plain\nmethod={method}\nuri={target}\n".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
