"""OpenAI's dialect, asked by the official client for Node over TCP."""

import asyncio
import base64

from tests.api.door import Door
from tests.api.test_images import picture
from tests.api.test_openai import MODEL, bumped, debits, seated, unfinished
from tests.support import ports
from tests.support.node import NodeClient
from tests.support.wire import Wire

ORDER = f"""
const answer = await client.images.generate({{ model: "{MODEL}", prompt: "a torii gate", size: "1024x1024" }});
told(answer.data.map((image) => image.b64_json));
"""
WRONG = f"""
const codes = [];
for (const wrong of [{{ n: 9 }}, {{ model: "dall-e-3" }}]) {{
    try {{
        await client.images.generate({{ model: "{MODEL}", prompt: "a torii gate", ...wrong }});
    }} catch (error) {{
        codes.push([error.constructor.name, error.status, error.code]);
    }}
}}
told(codes);
"""


async def test_node_gets_its_picture_over_a_wire_that_is_cut(door: Door, node_client: NodeClient) -> None:
    """The client for Node repeats a cut request as the one for Python does: one debit, one picture."""
    key = (await door.caller())["Authorization"].removeprefix("Bearer ")
    with Wire(door.port) as wire:
        asked = asyncio.create_task(node_client.run(f"http://{ports.LOOPBACK}:{wire.port}/v1", key, ORDER))
        await bumped(door, 1, wire)
        wire.cut()
        await bumped(door, 2, wire)
        await seated(door, 1)
        data = picture()
        await door.finish((await unfinished(door))[0], data)
        assert [base64.b64decode(text) for text in await asked] == [data]
    assert await debits(door) == 1


async def test_node_raises_its_own_errors(door: Door, node_client: NodeClient) -> None:
    """What is refused is raised as the client's own error with our code."""
    key = (await door.caller())["Authorization"].removeprefix("Bearer ")
    assert await node_client.run(f"{door.base_url}/v1", key, WRONG) == [
        ["BadRequestError", 400, "invalid_parameter"],
        ["NotFoundError", 404, "model_not_found"],
    ]
