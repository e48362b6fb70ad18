"""What no log may contain, planted everywhere a careless call could put it."""

import json
import time
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway import ids
from gateway.telemetry import logs, redaction, scrubbing
from gateway.telemetry.redaction import MASK

KEY_ID, KEY_SECRET = "A1b2C3d4E5f6", "x" * 20 + "Y" * 20 + "0123456ab"
KEY = f"torii_{KEY_ID}_{KEY_SECRET}"
WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "Zs"]), max_size=20)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"no team has {KEY}.", f"no team has torii_{KEY_ID}_{MASK}."),
        (f"Authorization: Bearer {KEY}", f"Authorization: Bearer torii_{KEY_ID}_{MASK}"),
        ("authorization: bearer 0123456789abcdef", f"authorization: bearer {MASK}"),
        ("{'Authorization': 'Key 0123:4567'}", f"{{'Authorization': 'Key {MASK}'}}"),
        ("authorization: Hawk 0123456 refused", f"authorization: {MASK} refused"),
        ("proxy-authorization: 0123456", f"proxy-authorization: {MASK}"),
        ("authorization=0123", f"authorization={MASK}"),
        ("sent Bearer 0123456789abcdef twice", f"sent Bearer {MASK} twice"),
        ("upstream refused pd_live_0123456789", f"upstream refused pd_{MASK}"),
        ("upstream refused pdl_0123456789", f"upstream refused pdl_{MASK}"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", f"whsec_{MASK}"),
        ("redis://:pass@host:6379/0", f"redis://:{MASK}@host:6379/0"),
        ("postgresql+asyncpg://torii:p@ss:word@db/t", f"postgresql+asyncpg://torii:{MASK}@db/t"),
        ("GET /images/img_1.png?exp=1&sig=abc-_DEF HTTP/1.1", f"GET /images/img_1.png?exp=1&sig={MASK} HTTP/1.1"),
        ("?X-Amz-Signature=0123&X-Amz-Date=1", f"?X-Amz-Signature={MASK}&X-Amz-Date=1"),
        ("{'api_key': 'a b c', 'n': 1}", f"{{'api_key': {MASK}, 'n': 1}}"),
        ('{"password": "a\\"b", "n": 1}', f'{{"password": {MASK}, "n": 1}}'),
        ("TORII_ADMIN_TOKEN=0123 next", f"TORII_ADMIN_TOKEN={MASK} next"),
    ],
)
def test_secrets_in_texts(text: str, redacted: str) -> None:
    """A secret is masked; what stands around it, and a key's public id, stay."""
    assert logs.redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a pd_x is short",
        "http://127.0.0.1:8700/api/v1/jobs/job_1?limit=5",
        "s3://bucket/prefix",
        "key A1b2C3d4E5f6 of team_1 was revoked",
        "sha256 0123456789abcdef",
        "spent 2 credits, 5 tokens left",
        "design: 16:9",
    ],
)
def test_harmless_texts_stay(text: str) -> None:
    """What holds no secret is left as it is."""
    assert logs.redact(text) == text


@given(WORDS, WORDS)
def test_any_planted_key_is_found(before: str, after: str) -> None:
    """Whatever stands around it, a key's secret part never comes through."""
    secret = ids.base62(49)
    for text in (
        f"{before}torii_{ids.base62(12)}_{secret}{after}",
        f"{before} Bearer {secret} {after}",
        f"{before} pd_{secret} {after}",
        f"{before} redis://user:{secret}@host {after}",
        f"{before}?sig={secret}&{after}",
        f"{before} {{'token': '{secret}'}} {after}",
    ):
        assert secret not in redaction.redact(text)
        assert redaction.redact(redaction.redact(text)) == redaction.redact(text)


@given(st.text(), st.lists(st.text(min_size=1), max_size=3))
def test_hidden_texts_are_masked(text: str, hidden: list[str]) -> None:
    """The operator's own secrets are masked wherever they occur, whatever they look like."""
    planted = text.join(hidden)
    longest = max(hidden, key=len, default="")
    assert not longest or longest in MASK or longest not in redaction.redact(planted, hidden).replace(MASK, "\x00")


@pytest.mark.parametrize(
    "name",
    ["Authorization", "api_key", "apiKey", "X-Api-Key", "password", "TORII_SECRET_KEY", "old_token", "setCookie",
     "proxy-authorization", "key_digest", "secret_access_key", "sig", "signature", "private_key", "admin_tokens"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    """A field is known as secret by its name, in any spelling."""
    assert redaction.is_secret(name)


@pytest.mark.parametrize(
    "name", ["key", "key_id", "api_key_id", "team", "sha256", "model", "design", "keys", "seed", ""]
)
def test_names_of_other_things(name: str) -> None:
    """Public ids and ordinary fields are shown."""
    assert not redaction.is_secret(name)


@dataclass
class Held:
    """Something with a secret and a prompt inside."""

    model: str
    prompt: str
    api_key: str
    inner: object = None
    quiet: str = field(default="not shown", repr=False)


class Sent(msgspec.Struct):
    """The same as a wire type."""

    model: str
    prompt: str
    token: str


class Broken:
    """Something that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_nested_fields() -> None:
    """Prompts are left out and secrets masked at every depth, in mappings, pairs, dataclasses and structs."""
    entry = scrubbing.Scrubber().fields(
        {
            "event": "sent",
            "prompt": "a red gate",
            "body": {
                "model": "m",
                "negative_prompt": "no",
                "prompt": "a red gate",
                "prompt_upsampling": True,
                "seed": 1,
            },
            "headers": [(b"authorization", b"Bearer 123"), ("accept", "image/*")],
            "held": Held("m", "a red gate", "s3cret", inner={"deep": [{"token": "s3cret"}]}),
            "struct": Sent("m", "a red gate", "s3cret"),
            "secret": SecretStr("s3cret"),
            "job": "Job(id='job_1', prompt='a red gate', state=1)",
            "broken": Broken(),
            "token": None,
            "ratio": float("nan"),
        }
    )
    assert entry == {
        "event": "sent",
        "body": {"model": "m", "prompt_upsampling": True, "seed": 1},
        "headers": [["authorization", MASK], ["accept", "image/*"]],
        "held": {"model": "m", "api_key": MASK, "inner": {"deep": [{"token": MASK}]}},
        "struct": {"model": "m", "token": MASK},
        "secret": MASK,
        "job": f"Job(id='job_1', prompt={MASK}, state=1)",
        "broken": "<Broken>",
        "token": None,
        "ratio": "nan",
    }


def test_prompts_when_the_operator_wants_them() -> None:
    """Prompts are kept when asked for; secrets never are."""
    scrubber = scrubbing.Scrubber(prompts=True)
    assert scrubber.fields({"prompt": "a gate", "body": {"prompt": "a gate", "api_key": "x"}}) == {
        "prompt": "a gate",
        "body": {"prompt": "a gate", "api_key": MASK},
    }


def test_a_value_that_holds_itself() -> None:
    """A value without an end is cut off, not followed."""
    loop: dict[str, object] = {}
    loop["again"] = loop
    assert "<dict>" in json.dumps(scrubbing.Scrubber().fields({"loop": loop}))


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(LEAVES),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES))
def test_every_entry_can_be_written(entry: dict[str, object]) -> None:
    """Whatever is logged comes out as strict JSON."""
    json.dumps(scrubbing.Scrubber().fields(entry), allow_nan=False)


@given(VALUES, st.sampled_from(["prompt", "x"]), st.sampled_from(["authorization", "y"]))
def test_no_planted_secret_survives(value: object, prompt: str, secret: str) -> None:
    """A key and a prompt planted beside anything, at any depth a line may have, do not come through."""
    planted = {"a": [value, {"b": (value, {"prompt": "a red gate", "authorization": "s3cret-0", "text": f"x {KEY}"})}]}
    shown = json.dumps(scrubbing.Scrubber().fields({prompt: planted, secret: planted, "z": planted}))
    assert KEY_SECRET not in shown
    assert "a red gate" not in shown
    assert "s3cret-0" not in shown


@pytest.mark.parametrize(
    "part",
    [
        "a-",
        "a",
        " ",
        "Bearer ",
        "token=",
        "token='",
        'token="',
        "://",
        "://a:",
        "sig:",
        "torii_",
        "authorization: ",
        "\\",
    ],
)
def test_long_texts_take_no_time(part: str) -> None:
    """Whatever a caller gets into a log line, redacting it takes time in proportion to its length."""
    begun = time.process_time()
    scrubbing.Scrubber().text(part * (100_000 // len(part)))
    assert time.process_time() - begun < 1
