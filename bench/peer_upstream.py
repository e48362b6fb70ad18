"""What stands behind the peers: an image API that answers at once, ``python -m bench.peer_upstream PORT``.

It counts the orders, so that a run can tell which of them a peer answered by itself: ``GET /count``.
"""

import json
import sys
from typing import Any

from bench import floor
from bench.floor import App, Receive, Send

IMAGES = "/v1/images/generations"
COUNT = "/count"
#: OpenAI's answer, with a link as it would hand one out.
BODY = json.dumps(
    {"created": 1_700_000_000, "data": [{"url": "https://images.invalid/" + "0" * 300, "revised_prompt": "a gate"}]}
).encode()


def application() -> App:
    """The app, which has counted nothing yet."""
    orders = 0

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal orders
        while (await receive()).get("more_body"):
            pass
        if scope["method"] == "POST":
            orders += 1
        body = json.dumps(orders).encode() if scope["path"] == COUNT else BODY
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


if __name__ == "__main__":
    floor.serve(application(), int(sys.argv[1]))
