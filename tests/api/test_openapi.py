"""The two OpenAPI documents: ours is what the routes do, and the upstream's is what the emulator answers."""

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from gateway.images import catalogue
from gateway.jobs import states
from gateway.jobs.states import State
from service import app, document, operations
from tests.api.contract import OPENAPI, PIXELDOJO
from tests.api.contract import document as stored
from tests.support import wait
from tests.support.emulator import EmulatorProcess

KEY = {"Authorization": "Bearer pd_test"}


def test_the_committed_document_is_what_the_routes_say() -> None:
    """openapi/torii.json is generated: `make openapi` would change nothing."""
    assert (OPENAPI / "torii.json").read_bytes() == document.render()


def test_the_document_is_the_same_in_every_process() -> None:
    """The document depends on nothing that differs from run to run, such as the order of a set."""
    program = "import sys; from service import document; sys.stdout.buffer.write(document.render())"
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        assert made.stdout == document.render()


def test_every_route_is_described_and_nothing_else() -> None:
    """Routes and operations are the same list: handler's name, method and path."""
    served = {
        (handler.name, method.lower(), _documented(path))
        for handler in app.ROUTES
        for path in handler.paths
        for method in handler.http_methods
        if method != "HEAD"
    }
    assert served == {(found.id, found.method, found.path) for found in operations.OPERATIONS}


def _documented(path: str) -> str:
    plain = path.replace(":str", "")
    return plain.replace("/images/{name}", "/images/{imageId}.{ext}").replace(
        "/uploads/{name}", "/uploads/{uploadId}.{ext}"
    )


def test_the_shapes_know_every_state() -> None:
    """The states and status words of the document are those of the house."""
    job = json.loads(document.render())["components"]["schemas"]["JobBody"]["properties"]
    assert set(job["state"]["enum"]) == {state.value for state in State}
    assert set(job["status"]["enum"]) == {states.wire(state) for state in State}


@pytest.mark.parametrize("name", ["torii.json", "pixeldojo.json"])
def test_a_document_holds_together(name: str) -> None:
    """Every reference leads somewhere, every schema is a JSON Schema, every operation has an id of its own."""
    found = stored(name)
    ids = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in _references(found):
        target: Any = found
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [reference for member in value.values() for reference in _references(member)]
    return [reference for member in value for reference in _references(member)] if isinstance(value, list) else []


def test_the_upstreams_parameters_are_the_catalogues() -> None:
    """What the upstream's document says of flux-2-max's parameters is what the catalogue pins."""
    described = dict(stored("pixeldojo.json")["components"]["schemas"]["RunFlux2"]["properties"])
    for parameter in catalogue.load().model("flux-2-max").parameters:
        schema = described.pop(parameter.name)
        assert schema.get("default") == parameter.default
        assert tuple(schema.get("enum", ())) == parameter.enum
        if parameter.name != "seed":  # its range is ours
            assert (schema.get("minimum"), schema.get("maximum")) == (parameter.minimum, parameter.maximum)
    assert described.keys() == {"webhook_url"}


@pytest.fixture
def upstream(emulator: EmulatorProcess) -> httpx.Client:
    """Give a client of the stand-in upstream whose every answer is held to openapi/pixeldojo.json."""

    def hold(answer: httpx.Response) -> None:
        answer.read()
        PIXELDOJO.check(answer)

    return httpx.Client(base_url=emulator.api_base, trust_env=False, event_hooks={"response": [hold]})


def test_the_emulator_answers_as_the_upstreams_document_says(emulator: EmulatorProcess, upstream: httpx.Client) -> None:
    """A job from its 202 to its end, the models and the errors of the emulator fit openapi/pixeldojo.json."""
    emulator.switch(time_scale=0.01)
    with upstream:
        ordered = upstream.post("/models/flux-2-max/run", headers=KEY, json={"prompt": "x", "num_outputs": 2})
        path = f"/jobs/{ordered.json()['jobId']}"
        seen = wait.until_sync(
            lambda: (job := upstream.get(path, headers=KEY).json())["status"] == "completed" and job,
            timeout_s=10,
            what="the emulator's job is completed",
        )
        statuses = [
            upstream.get("/models").status_code,
            upstream.get("/models", params={"detailed": "true", "modality": "image"}).status_code,
            upstream.get("/models/flux-2-max").status_code,
            upstream.get("/models/flux-2-max/schema").status_code,
            upstream.post("/models/flux-2-max/run", headers=KEY, json={"prompt": "x", "speed": 1}).status_code,
            upstream.post("/models/flux-2-max/run", json={"prompt": "x"}).status_code,
            upstream.post("/models/flux-9/run", headers=KEY, json={"prompt": "x"}).status_code,
            upstream.get("/models/flux-9").status_code,
            upstream.get("/jobs/job_unknown", headers=KEY).status_code,
            upstream.get(path).status_code,
        ]
    assert ordered.status_code == 202
    assert len(seen["output"]["images"]) == 2
    assert statuses == [200, 200, 200, 200, 400, 401, 404, 404, 404, 401]


@pytest.mark.parametrize("envelope", ["object", "string", "message"])
@pytest.mark.parametrize("image_shape", ["strings", "objects"])
def test_each_shape_that_clients_have_met_fits(
    emulator: EmulatorProcess, upstream: httpx.Client, envelope: str, image_shape: str
) -> None:
    """All error envelopes, both shapes of pictures, and a failed job are within the document."""
    emulator.switch(
        time_scale=0.0, error_envelope=envelope, image_shape=image_shape, outcome=[{"kind": "failed", "times": 1}]
    )
    with upstream:
        for _ in range(2):
            job_id = upstream.post("/models/flux-2-max/run", headers=KEY, json={"prompt": "x"}).json()["jobId"]
            assert upstream.get(f"/jobs/{job_id}", headers=KEY).status_code == 200
        assert upstream.get("/jobs/job_unknown", headers=KEY).status_code == 404
