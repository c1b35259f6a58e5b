"""How long the server waits for a browser that sends nothing."""

import asyncio

from uvicorn.protocols.http.auto import AutoHTTPProtocol

REQUEST_SECONDS = 20.0  # for the head of a request, from the connection or the last answer on; between parts of a body


class TimedHTTP(AutoHTTPProtocol):
    """uvicorn's protocol, but a connection on which no whole request comes is closed.

    uvicorn by itself limits only the silence after an answer: a connection that never asks for anything, or sends its
    headers letter by letter, stays open as long as the client likes, and takes one of the process's open files.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_protocol() is not self:  # it has become a WebSocket, which has pings of its own
            self._stop_waiting()
        elif self._has_head:
            self._stop_waiting()
            if self.cycle.more_body:
                self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._deadline is None and not self._has_head:  # not where the next request has come already
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _has_head(self) -> bool:
        """Return whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._has_head and self.flow.read_paused:  # we do not read, so nothing can come
            self._wait()
        elif not self.transport.is_closing():
            self.transport.close()
