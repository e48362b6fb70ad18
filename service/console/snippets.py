"""One call, as the code that makes it: curl, Python, and the OpenAI client. Pure; it is never given a key."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Where the reader's own key goes; the shell and Python read it from there.
VARIABLE: Final = "TORII_KEY"
#: Parameters that the OpenAI client has words of its own for; the rest goes through ``extra_body``.
_OPENAI: Final = ("prompt", "num_outputs")


@dataclass(frozen=True)
class Snippet:
    """One way to make the call."""

    id: str
    title: str
    code: str


def of(public_url: str, model: str, body: Mapping[str, Any]) -> list[Snippet]:
    """The call of that body, each way."""
    return [
        Snippet("curl", "curl", _curl(public_url, model, body)),
        Snippet("python", "Python (httpx)", _python(public_url, model, body)),
        Snippet("openai", "Python (OpenAI client)", _openai(public_url, model, body)),
    ]


def _curl(public_url: str, model: str, body: Mapping[str, Any]) -> str:
    sent = json.dumps(body, ensure_ascii=False, indent=2)
    return (
        f"curl {shlex.quote(f'{public_url}/api/v1/models/{model}/run')} \\\n"
        f'  -H "Authorization: Bearer ${VARIABLE}" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        "  -H 'Prefer: wait=60' \\\n"
        f"  -d {shlex.quote(sent)}\n"
    )


def _python(public_url: str, model: str, body: Mapping[str, Any]) -> str:
    return (
        "import os\nimport time\n\nimport httpx\n\n"
        f'key = os.environ["{VARIABLE}"]\n'
        f'torii = httpx.Client(base_url="{public_url}", headers={{"Authorization": f"Bearer {{key}}"}})\n'
        f'job = torii.post("/api/v1/models/{model}/run", json={_literal(body)}).raise_for_status().json()\n'
        'while job["status"] in ("pending", "processing"):\n'
        "    time.sleep(2)\n"
        "    job = torii.get(f\"/api/v1/jobs/{job['jobId']}\").raise_for_status().json()\n"
        'print(job["output"]["images"] if job["status"] == "completed" else job["error"])\n'
    )


def _openai(public_url: str, model: str, body: Mapping[str, Any]) -> str:
    more = {name: value for name, value in body.items() if name not in _OPENAI}
    lines = [f'    model="{model}",', f"    prompt={body.get('prompt', '')!r},"]
    if "num_outputs" in body:
        lines.append(f"    n={body['num_outputs']!r},")
    if more:
        lines.append(f"    extra_body={_literal(more, '    ')},")
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{public_url}/v1", api_key=os.environ["{VARIABLE}"])\n'
        "images = client.images.generate(\n" + "\n".join(lines) + "\n)\n"
        "print([image.url for image in images.data])\n"
    )


def _literal(value: Mapping[str, Any], indent: str = "") -> str:
    """A dict as Python has it, a member a line."""
    members = "".join(f"{indent}    {name!r}: {each!r},\n" for name, each in value.items())
    return f"{{\n{members}{indent}}}"
