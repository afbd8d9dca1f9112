"""A server that authenticates connections, as IIS does with NTLM and Negotiate (RFC 4559): after the third message all that comes on the
connection is that person's, with no Authorization any more.

The messages are not NTLM's, their order is: `NTLM 1`, answered with 401 and a challenge, then `NTLM 3 NAME`. Run as a program:
`python -m tests.fakes.ntlm_server PORT`.
"""

import asyncio
import re
import sys


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    person = ""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            sent = re.search(r"\r\nauthorization:\s*(NTLM|Negotiate) (1|3) ?(\w*)", head, re.IGNORECASE)
            scheme, step, name = sent.groups() if sent else ("NTLM", "", "")
            if step == "3":
                person = name
            if person:
                extra = "Persistent-Auth: true\r\n" if step == "3" and scheme.lower() == "negotiate" else ""
                writer.write(answer("200 OK", extra, f"you are {person}"))
            else:
                challenge = f"{scheme} challenge" if step == "1" else scheme
                writer.write(answer("401 Unauthorized", f"WWW-Authenticate: {challenge}\r\n", "who are you?"))
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def answer(status: str, fields: str, body: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\n{fields}Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
