"""The console's pure parts: a model as a form, a call as code, a plot as shapes, amounts and times as words."""

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import errors
from gateway.images import catalogue, parameters
from gateway.images.model import Model
from service.console import assets, faults, fields, paper, plots, snippets, upstream
from service.console.plots import Column

MODELS = list(catalogue.load())
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PAPER = paper.unfold(assets.load())


def filled(name: str, value: object, **more: object) -> str:
    """What a filter of the templates makes of a value."""
    return str(PAPER.environment.filters[name](value, **more))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.api_id)
def test_every_parameter_is_a_field_with_its_range(model: Model) -> None:
    """Each parameter of each model is asked for, says its range, and shows its default."""
    found = fields.of(model, {})
    assert [field.name for field in found] == [parameter.name for parameter in model.parameters]
    for field, parameter in zip(found, model.parameters, strict=True):
        assert field.help == parameter.description
        assert field.range
        if parameter.default is not None:
            assert "default" in field.range
        if parameter.type == "enum":
            assert tuple(field.options) == parameter.enum


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.api_id)
def test_a_form_as_it_comes_is_a_good_order(model: Model) -> None:
    """A form that is sent as it is shown, with a prompt, orders the model's defaults."""
    form = {"prompt": "a torii gate"}
    for field in fields.of(model, {}):
        if field.kind == "check":
            form |= {field.name: "on"} if field.checked else {}
        elif field.value:
            form[field.name] = field.value
    asked = parameters.canonical(model, fields.body(model, form))
    assert asked == {**parameters.canonical(model, {"prompt": "a torii gate"}), **asked}
    assert asked["prompt"] == "a torii gate"


def test_an_earlier_job_fills_the_form_again() -> None:
    """The parameters of a job come back as they were."""
    model = MODELS[0]
    given = parameters.canonical(model, {"prompt": "p", "seed": 7, "aspect_ratio": "16:9", "prompt_upsampling": True})
    form = {field.name: "on" if field.kind == "check" else field.value for field in fields.of(model, given)}
    assert parameters.canonical(model, fields.body(model, form)) == given


@pytest.mark.parametrize("text", ["seven", "1e999", "--1", "9" * 40, "NaN", "½"])
def test_what_is_no_number_is_refused_by_the_house(text: str) -> None:
    """A field of numbers that holds none never becomes a good order, and never an error of ours."""
    asked = fields.body(MODELS[0], {"prompt": "p", "seed": text})
    with pytest.raises(errors.InvalidParameter) as caught:
        parameters.canonical(MODELS[0], asked)
    assert caught.value.param == "seed"


def test_the_snippets_are_this_very_call() -> None:
    """Each snippet has the body as it is sent, is code, and has a place for the key in the reader's environment."""
    body = {"prompt": 'it\'s a "gate"\n$HOME `x` \\', "num_outputs": 2, "prompt_upsampling": True, "seed": 7}
    curl, python, openai = snippets.of("https://torii.example", "flux-2-max", body)
    words = shlex.split(curl.code.replace("\\\n", ""))
    assert words[1] == "https://torii.example/api/v1/models/flux-2-max/run"
    assert json.loads(words[words.index("-d") + 1]) == body
    for snippet in (python, openai):
        compile(snippet.code, snippet.id, "exec")
        assert 'os.environ["TORII_KEY"]' in snippet.code
    assert "'seed': 7" in openai.code
    assert "n=2" in openai.code


def test_a_plot_keeps_to_its_frame() -> None:
    """Bars stand on each other and on the axis, the scale is round, and a near limit is drawn as a far one is not."""
    columns = [Column("1 Nov", [("s1", 30.0, "spent"), ("s2", 7.0, "saved")]), Column("2 Nov", [])]
    drawn = plots.stacked(columns, 40.0, "daily budget 40")
    spent, saved = drawn.bars
    assert saved.y + saved.height == pytest.approx(spent.y, abs=0.02)
    assert spent.y + spent.height == pytest.approx(drawn.rows[0].at, abs=0.02)
    assert [mark.text for mark in drawn.rows] == ["0", "10", "20", "30", "40"]
    assert drawn.limit_y == pytest.approx(drawn.rows[-1].at, abs=0.02)
    assert plots.stacked(columns, 4000.0).limit_y is None
    assert plots.stacked([]).empty
    for tall in (0.000_3, 1.0, 999.0, 1e9):
        shown = plots.stacked([Column("x", [("s1", tall, "x")])])
        assert all(0 <= bar.y <= plots.HEIGHT and bar.height >= 0 for bar in shown.bars)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("micros", 2_000_000, "2"),
        ("micros", 1_234_567_500_000, "1,234,567.5"),
        ("micros", -1, "-0.000001"),
        ("credits", 0, "0"),
        ("seconds", 0.4, "0.4 s"),
        ("seconds", 44, "44 s"),
        ("seconds", 125, "2 min 5 s"),
        ("seconds", 7260, "2 h 1 min"),
        ("seconds", 200_000, "2 days"),
        ("bytes", 512, "512 bytes"),
        ("bytes", 1_482_133, "1.5 MB"),
        ("words", "out_of_credits", "Out of credits"),
    ],
)
def test_values_are_said_for_people(name: str, value: object, shown: str) -> None:
    """Amounts, durations and names are written as people read them."""
    assert filled(name, value) == shown


def test_moments_are_for_machines_too() -> None:
    """A moment is a time element, whether it is past or to come, and an address cannot break out of it."""
    assert ">5 s ago</time>" in filled("ago", NOW - timedelta(seconds=5), now=NOW)
    assert ">in 10 s</time>" in filled("ago", "2026-11-23T12:00:10Z", now=NOW)
    assert 'datetime="2026-11-23T12:00:00Z"' in filled("moment", NOW)
    assert filled("ago", None, now=NOW) == "never"


@pytest.mark.parametrize(
    ("balance", "spent", "days"), [(70_000_000, 7_000_000, 70.0), (None, 7, None), (7, 0, None), (-1, 7, 0.0)]
)
def test_a_runway_is_a_balance_by_its_pace(balance: int | None, spent: int, days: float | None) -> None:
    """A balance lasts as long as it does at the pace of a week; without either nobody can tell."""
    assert upstream.runway_days(balance, spent, 7) == days


@pytest.mark.parametrize("address", [None, "", "/", "//x", "/console?next=//x y", "/console/" + "a" * 3000])
def test_only_the_consoles_own_addresses_are_led_to(address: str | None) -> None:
    """Whatever is no plain address of the console leads to the console."""
    assert faults.within(address) == "/console"


def test_no_template_has_script_or_style_of_its_own() -> None:
    """Nothing in a template would break the policy: no inline script, style or handler, and no other host."""
    folder = Path(assets.__file__).parent / "templates"
    pages = {file.name: file.read_text() for file in folder.glob("*.html")}
    assert len(pages) > 15
    for name, text in pages.items():
        for forbidden in ("<style", " style=", " onclick", "javascript:", "hx-on", "http://", "| safe"):
            assert forbidden not in text, (name, forbidden)
        assert text.count("<script") == text.count("<script src="), name
