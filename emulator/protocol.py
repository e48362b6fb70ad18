"""uvicorn's HTTP protocol with one thing more: an app may cut its connection. Never decides when."""

import contextlib
import socket
import struct
from typing import Any, cast

from uvicorn.protocols.http import httptools_impl

from emulator import wire

# Linger on, for 0 seconds: closing then sends RST instead of FIN.
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class CuttingProtocol(httptools_impl.HttpToolsProtocol):
    """Hands the app a function in `scope["extensions"]` that closes the TCP connection without an answer.

    An exception in an ASGI app becomes a 500, which is an answer; only the transport can leave without one.
    """

    def on_message_begin(self) -> None:
        """Put the function into the scope of each request."""
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope["extensions"] = {wire.CUT_EXTENSION: self.cut}

    def cut(self, reset: bool) -> None:
        """Send what was already written and close; with `reset` drop it and close by RST."""
        if not reset:
            self.transport.close()
            return
        with contextlib.suppress(OSError, AttributeError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.transport.abort()

    def shutdown(self) -> None:
        """Close at once when the server ends, so that a hanging exchange does not keep the process alive."""
        self.transport.close()
