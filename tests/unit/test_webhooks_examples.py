"""The examples that receivers copy from docs/webhooks.md, run as they stand there."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.webhooks import signature
from tests.support import tree

BODY = b'{"type":"job.completed","data":{"prompt":"h\xc3\xb6he"}}'


def block(language: str) -> str:
    """Return the page's one block of that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", (tree.ROOT / "docs" / "webhooks.md").read_text(), re.DOTALL)
    return str(found)


def message(age: timedelta = timedelta(0)) -> tuple[list[str], dict[str, str]]:
    """Return two secrets, and the headers of a message that both have signed."""
    secrets = [signature.new_secret(), signature.new_secret()]
    told = signature.headers(secrets, "msg_1", datetime.now(UTC) - age, BODY)
    return [signature.spell(secret) for secret in secrets], dict(told)


def python(folder: Path) -> Callable[..., Any]:
    """Return the function of the Python example."""
    path = folder / "example.py"
    path.write_text(block("python"))
    spec = importlib.util.spec_from_file_location("example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.proven  # type: ignore[no-any-return]


def node(folder: Path) -> Callable[..., Any]:
    """Return the function of the Node example; skips where there is no Node."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    path = folder / "example.mjs"
    path.write_text(block("js"))
    code = (
        f"import {{ proven }} from {json.dumps(str(path))};"
        "const [secret, headers, body] = JSON.parse(process.argv[1]);"
        "process.stdout.write(String(proven(secret, headers, Buffer.from(body, 'hex'))));"
    )

    def proven(secret: str, headers: dict[str, str], body: bytes) -> bool:
        given = json.dumps([secret, headers, body.hex()])
        command = ["node", "--input-type=module", "-e", code, given]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout == "true"

    return proven


@pytest.mark.parametrize("example", [python, node], ids=["python", "node"])
def test_the_example_tells_ours_from_others(tmp_path: Path, example: Callable[[Path], Callable[..., Any]]) -> None:
    """It takes a message by either secret, and refuses a changed, a strange and an old one."""
    proven = example(tmp_path)
    secrets, headers = message()
    for secret in secrets:
        assert proven(secret, headers, BODY) is True
    assert proven(secrets[0], headers, BODY + b" ") is False
    assert proven(signature.spell(signature.new_secret()), headers, BODY) is False
    assert proven(secrets[0], {**headers, "webhook-id": "msg_2"}, BODY) is False
    old_secrets, old = message(timedelta(minutes=6))
    assert proven(old_secrets[0], old, BODY) is False
