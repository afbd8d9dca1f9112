"""What programs ask the portal for: the JSON API, an upload, a WebSocket echo, and a clock of server-sent events."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable
from datetime import date
from typing import Any
from weakref import WeakSet

from aiohttp import BodyPartReader, WSCloseCode, WSMsgType, web

from gateway.demo.bookings import BookingRefused, Bookings
from gateway.demo.harbour import ROOMS
from gateway.demo.pages import render
from gateway.demo.visitor import TOLD, VISITOR

_CHUNK = 64 * 1024


class PortalApi:
    def __init__(self, bookings: Bookings) -> None:
        self._bookings = bookings
        self._sockets: WeakSet[web.WebSocketResponse] = WeakSet()

    def routes(self) -> Iterable[web.RouteDef]:
        return [
            web.get("/api/whoami", self.whoami),
            web.get("/api/rooms", self.rooms),
            web.get("/api/bookings", self.list_bookings),
            web.post("/api/bookings", self.book),
            web.delete("/api/bookings/{id}", self.cancel),
            web.post("/upload", self.upload),
            web.put("/upload", self.upload),
            web.get("/ws", self.echo),
            web.get("/clock", self.clock),
        ]

    async def whoami(self, request: web.Request) -> web.Response:
        """The person, and the headers that said so."""
        visitor, told = request[VISITOR], request[TOLD]
        return web.json_response(
            {
                "email": visitor.email,
                "name": visitor.name,
                "groups": visitor.groups,
                "member_number": visitor.member_number,
                "signed_in_by": "gateway" if visitor.by_gateway else "password",
                "headers": {**told.identity, **told.extra, **told.request},
                "assertion": told.claims,
                "cookies": told.cookies,
            }
        )

    async def rooms(self, request: web.Request) -> web.Response:
        return web.json_response([{"id": r.id, "name": r.name, "seats": r.seats, "floor": r.floor} for r in ROOMS])

    async def list_bookings(self, request: web.Request) -> web.Response:
        try:
            day = date.fromisoformat(request.query.get("day", self._bookings.today.isoformat()))
        except ValueError:
            return _problem(400, "day is not a date as 2026-01-31")
        return web.json_response([booking.to_json() for booking in self._bookings.on(day)])

    async def book(self, request: web.Request) -> web.Response:
        visitor = request[VISITOR]
        try:
            wish = await request.json()
            booking = self._bookings.book(
                room_id=str(wish["room"]),
                day=date.fromisoformat(str(wish["day"])),
                start=int(wish["start"]),
                hours=int(wish.get("hours", 1)),
                title=str(wish.get("title", "")),
                email=visitor.email,
                name=visitor.name,
            )
        except BookingRefused as refused:
            return _problem(409, str(refused))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return _problem(400, "wanted: an object with room, day, start, and if you like hours and title")
        return web.json_response(booking.to_json(), status=201)

    async def cancel(self, request: web.Request) -> web.Response:
        if self._bookings.cancel(request.match_info["id"], request[VISITOR].email) is None:
            return _problem(404, "you have no such booking")
        return web.Response(status=204)

    async def upload(self, request: web.Request) -> web.Response:
        """Counts and hashes a body of any size as it streams in; nothing is kept."""
        digest, size = hashlib.sha256(), 0
        async for chunk in _chunks(request):
            digest.update(chunk)
            size += len(chunk)
        receipt = {"size": size, "sha256": digest.hexdigest()}
        if "text/html" in request.headers.get("Accept", ""):
            return render(request, "live.html", visitor=request[VISITOR], receipt=receipt)
        return web.json_response(receipt)

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        """Every message comes back as it was."""
        socket = web.WebSocketResponse(max_msg_size=4 * 1024 * 1024)
        await socket.prepare(request)
        self._sockets.add(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def clock(self, request: web.Request) -> web.StreamResponse:
        """The time, once a second, until the client closes the connection."""
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        tick = 0
        try:
            while True:
                tick += 1
                time = self._bookings.clock().strftime("%H:%M:%S")
                await response.write(f"id: {tick}\nevent: tick\ndata: {json.dumps({'time': time})}\n\n".encode())
                await asyncio.sleep(1)
        except ConnectionResetError:
            return response

    async def close_sockets(self, app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the portal is closing")


async def _chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The body, or the first file of a form, in pieces."""
    if request.content_type != "multipart/form-data":
        async for chunk in request.content.iter_chunked(_CHUNK):
            yield chunk
        return
    async for part in await request.multipart():
        while isinstance(part, BodyPartReader) and (piece := await part.read_chunk(_CHUNK)):
            yield bytes(piece)


def _problem(status: int, what: str) -> web.Response:
    body: dict[str, Any] = {"error": what}
    return web.json_response(body, status=status)
