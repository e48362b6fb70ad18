"""The shipped catalogue, and what an operator's file may and may not say."""

from pathlib import Path

import pytest

from gateway import errors
from gateway.images import catalogue, price
from gateway.images.model import Parameter, Price

MINE = """
[[parameters.mine]]
name = "prompt"
type = "string"
required = true
max_length = 100
description = "What to draw."

[[model]]
api_id = "mine-1"
name = "Mine"
description = "A model of my own"
modality = "image"
capabilities = ["text-to-image"]
typical_s = 3
parameters = "mine"

[model.prices]
any = { credits = "0.25" }
"""
STEPS = """
[[parameters.mine]]
name = "steps"
type = "integer"
default = 4
minimum = 1
maximum = 8
description = "How many steps."
"""
PRO = """
[[model]]
api_id = "flux-2-pro"
name = "Flux 2 Pro"
description = "Added by an operator"
modality = "image"
capabilities = ["text-to-image"]
typical_s = 20
parameters = "flux-2"

[model.prices]
"0.5 MP" = { credits = "2" }
"1 MP" = { credits = "2" }
"2 MP" = { credits = "4", bound = true }
"4 MP" = { credits = "8", bound = true }
"""
REFERENCES = """
[model.reference_images]
parameter = "input_images"
maximum = 8
credits = "2"
"""


def written(folder: Path, text: str) -> Path:
    """An operator's file with this text."""
    path = folder / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """The one line with which a catalogue of this text is refused."""
    with pytest.raises(errors.SettingError) as caught:
        catalogue.load(written(folder, text))
    assert caught.value.param == "TORII_CATALOGUE"
    assert "\n" not in caught.value.message
    return caught.value.message


def test_the_shipped_models_are_the_siblings_whose_parameters_are_known() -> None:
    """The catalogue ships flux-2-max and the three siblings with the identical table, in this order."""
    shipped = catalogue.load()
    assert [model.api_id for model in shipped] == [
        "flux-2-max",
        "flux-2-flex",
        "flux-2-dev",
        "flux-2-klein-9b",
    ]
    assert len(shipped) == 4


def test_flux_2_max_is_as_the_upstream_page_has_it() -> None:
    """The parameters of flux-2-max have the names, types and defaults of the seed page, in its order."""
    rows = [
        (parameter.name, parameter.type, parameter.default)
        for parameter in catalogue.load().model("flux-2-max").parameters
    ]
    assert rows == [
        ("prompt", "string", None),
        ("aspect_ratio", "enum", "1:1"),
        ("resolution", "enum", "1 MP"),
        ("num_outputs", "integer", 1),
        ("safety_tolerance", "integer", 5),
        ("prompt_upsampling", "boolean", False),
        ("seed", "integer", None),
        ("output_format", "enum", "png"),
    ]


def test_flux_2_max_has_the_limits_of_the_design() -> None:
    """Nine ratios, four resolutions, three formats; 1..4 outputs, tolerance 1..5, seed below 2^31, long prompts cut."""
    model = catalogue.load().model("flux-2-max")
    known = {parameter.name: parameter for parameter in model.parameters}
    assert known["aspect_ratio"].enum == ("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3")
    assert known["resolution"].enum == ("0.5 MP", "1 MP", "2 MP", "4 MP")
    assert known["output_format"].enum == ("png", "jpg", "webp")
    assert (known["num_outputs"].minimum, known["num_outputs"].maximum) == (1, 4)
    assert (known["safety_tolerance"].minimum, known["safety_tolerance"].maximum) == (1, 5)
    assert (known["seed"].minimum, known["seed"].maximum) == (0, 2**31 - 1)
    assert known["prompt"].max_length == 10_000
    assert [name for name, parameter in known.items() if parameter.required] == ["prompt"]
    assert [name for name, parameter in known.items() if parameter.always_sent] == ["safety_tolerance"]
    assert model.typical_s == 44


def test_a_parameter_is_found_by_name() -> None:
    """A model answers with the parameter of a name, or with nothing."""
    model = catalogue.load().model("flux-2-max")
    assert isinstance(model.parameter("seed"), Parameter)
    assert model.parameter("steps") is None


@pytest.mark.parametrize(("api_id", "tail"), [("flux-2-mx", '; did you mean "flux-2-max"?'), ("sora", ""), ("", "")])
def test_an_unknown_model_is_named_with_its_neighbour(api_id: str, tail: str) -> None:
    """An unknown model's error names it, and suggests the nearest one if there is one."""
    with pytest.raises(errors.ModelNotFound) as caught:
        catalogue.load().model(api_id)
    assert caught.value.message == f'there is no model "{api_id}"{tail}'


def test_an_endless_model_id_is_cut_short() -> None:
    """However long an unknown id is, the error stays short."""
    with pytest.raises(errors.ModelNotFound) as caught:
        catalogue.load().model("\ud800" + "x" * 100_000)
    assert len(caught.value.message) < 100
    assert caught.value.message.encode()


def test_an_operator_adds_a_model_with_a_table_of_his_own(tmp_path: Path) -> None:
    """An operator's model comes after the shipped ones, with its own table and one price for all."""
    models = catalogue.load(written(tmp_path, MINE))
    assert [model.api_id for model in models][-1] == "mine-1"
    assert models.model("mine-1").prices == {"any": Price(250_000)}
    assert models.model("mine-1").resolution is None
    assert models.model("mine-1").outputs is None


def test_an_operator_adds_a_sibling_by_the_shipped_table(tmp_path: Path) -> None:
    """An operator's model may use a shipped parameter table by its name."""
    models = catalogue.load(written(tmp_path, PRO))
    assert models.model("flux-2-pro").parameters == models.model("flux-2-max").parameters


def test_an_operator_replaces_a_whole_model_in_its_place(tmp_path: Path) -> None:
    """A shipped id in the operator's file replaces that model and keeps its place in the order."""
    models = catalogue.load(written(tmp_path, MINE.replace("mine-1", "flux-2-flex")))
    assert [model.name for model in models] == ["Flux 2 Max", "Mine", "Flux 2 Dev", "Flux 2 Klein 9B"]


def test_an_operators_table_leaves_shipped_models_alone(tmp_path: Path) -> None:
    """A table of a shipped name in the operator's file serves the operator's models only."""
    renamed = MINE.replace("parameters.mine", "parameters.flux-2").replace('"mine"', '"flux-2"')
    models = catalogue.load(written(tmp_path, renamed))
    assert models.model("flux-2-max") == catalogue.load().model("flux-2-max")
    assert len(models.model("mine-1").parameters) == 1


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """An operator's file without models leaves the shipped catalogue."""
    assert catalogue.load(written(tmp_path, "")) == catalogue.load()


def test_reference_images_are_a_parameter_once_named(tmp_path: Path) -> None:
    """Naming the reference parameter makes it the model's last parameter, with its bound of credits."""
    model = catalogue.load(written(tmp_path, PRO + REFERENCES)).model("flux-2-pro")
    assert (model.parameters[-1].name, model.parameters[-1].type) == ("input_images", "images")
    assert model.parameters[-1].maximum == 8
    assert model.reference_micros == 2_000_000
    assert (model.references, model.reference_megapixels) == ("input_images", None)
    bounded = catalogue.load(written(tmp_path, PRO + REFERENCES + "megapixels = 4\n")).model("flux-2-pro")
    assert bounded.reference_megapixels == 4
    assert bounded.version == model.version


def test_the_version_is_stable_over_spelling_and_changes_with_the_parameters(tmp_path: Path) -> None:
    """A model's version ignores order, prices and words, and changes with a parameter."""
    first = catalogue.load(written(tmp_path, STEPS + MINE)).model("mine-1").version
    head, tail = MINE.split("[[model]]")
    reworded = head + STEPS + "[[model]]" + tail.replace("0.25", "9").replace("Mine", "Other").replace("= 3", "= 5")
    reworded = reworded.replace("What to draw", "Draw what").replace(
        'type = "string"\nrequired = true', 'required = true\ntype = "string"'
    )
    assert catalogue.load(written(tmp_path, reworded)).model("mine-1").version == first
    other = STEPS.replace("default = 4", "default = 5") + MINE
    assert catalogue.load(written(tmp_path, other)).model("mine-1").version != first


def test_siblings_and_their_versions_are_told_apart() -> None:
    """Two models with one table have versions of their own, short enough for a key."""
    versions = {model.version for model in catalogue.load()}
    assert len(versions) == 4
    assert {len(version) for version in versions} == {12}


def test_the_shipped_versions_are_pinned() -> None:
    """The version of flux-2-max changes only on purpose: with it, every cached picture is forgotten."""
    assert catalogue.load().model("flux-2-max").version == "4c5a4193cfc8"


@pytest.mark.parametrize(
    ("find", "put", "named"),
    [
        ("[[model]]", "[[model]", "line"),
        ('"Mine"', "3", 'model "mine-1": Expected `str`, got `int` - at `$.name`'),
        ('modality = "image"', 'modality = "video"', "$.modality"),
        ('modality = "image"', 'modality = "image"\ncolour = "red"', "`colour`"),
        ('api_id = "mine-1"', "", "`api_id`"),
        ('"mine-1"', '"../mine"', "api_id"),
        ("typical_s = 3", "typical_s = 0", "mine-1: typical_s"),
        ("typical_s = 3", "typical_s = nan", "mine-1: typical_s"),
        ("typical_s = 3", "typical_s = inf", "mine-1: typical_s"),
        (
            'parameters = "mine"',
            'parameters = "mime"',
            'mine-1: parameters: there is no table "mime"; did you mean "mine"',
        ),
        ('credits = "0.25"', "credits = 0.25", "credits"),
        ('credits = "0.25"', 'credits = "-1"', 'mine-1: prices: "any"'),
        ('credits = "0.25"', 'credits = "NaN"', 'mine-1: prices: "any"'),
        ('credits = "0.25"', 'credits = "two"', 'mine-1: prices: "any"'),
        ("any = {", '"1 MP" = {', 'mine-1: prices: "any" has no price'),
        ("any = {", 'any = { credits = "1" }\n"1 MP" = {', 'mine-1: prices: "1 MP" is no resolution'),
        ("typical_s = 3", 'typical_s = 3\nresolution = "size"', "mine-1: resolution: there is no parameter size"),
        ("typical_s = 3", 'typical_s = 3\nresolution = "prompt"', "mine-1: resolution: prompt must be an enum"),
        ("typical_s = 3", 'typical_s = 3\noutputs = "count"', "mine-1: outputs: there is no parameter count"),
        ("typical_s = 3", 'typical_s = 3\noutputs = "prompt"', "mine-1: outputs: prompt must be an integer"),
        ('name = "prompt"', 'name = "text"', "table mine: parameters: there is no prompt"),
        ('name = "prompt"', 'name = "torii"', "table mine: parameter torii: name"),
        ('name = "prompt"', 'name = "Prompt"', "parameter Prompt: name"),
        ("required = true", "required = false", "prompt: must be a required string"),
        ("required = true", 'required = true\ndefault = "a cat"', "prompt: default: a required parameter has none"),
        ("max_length = 100", "", "prompt: max_length"),
        ("max_length = 100", "max_length = 0", "prompt: max_length"),
        ("max_length = 100", "max_length = 100\nmaximum = 3", "prompt: maximum: is not for the type string"),
        ('type = "string"', 'type = "text"', 'parameter "prompt": Invalid enum value'),
        ('type = "string"', 'type = "images"', "prompt: type: reference images"),
    ],
)
def test_a_mistake_in_a_model_is_named(tmp_path: Path, find: str, put: str, named: str) -> None:
    """Each mistake in an operator's file stops the start with one line that names the model and the field."""
    assert find in MINE
    assert named in refusal(tmp_path, MINE.replace(find, put, 1))


@pytest.mark.parametrize(
    ("find", "put", "named"),
    [
        ("default = 4", "default = 9", "steps: default: steps must be an integer from 1 to 8, not 9"),
        ("default = 4", "default = true", "steps: default"),
        ("default = 4", "default = 4.5", "steps: default"),
        ("default = 4", "always_sent = true", "steps: always_sent"),
        ("minimum = 1", "", "steps: minimum: is missing"),
        ("maximum = 8", "", "steps: maximum: is missing"),
        ("minimum = 1", "minimum = 9", "steps: minimum"),
        ("minimum = 1", "minimum = 1.0", "steps: minimum: must be an integer"),
        ("maximum = 8", "maximum = 9007199254740992", "steps: maximum: must be an integer"),
        ("minimum = 1", "minimum = true", "`$.minimum`"),
        ('type = "integer"', 'type = "number"\nenum = ["1"]', "steps: enum: is not for the type number"),
        ('type = "integer"', 'type = "boolean"', "steps: minimum: is not for the type boolean"),
        ('name = "steps"', 'name = "prompt"', "parameter prompt: stands there twice"),
        ("maximum = 8", "maximum = inf", "steps: minimum"),
    ],
)
def test_a_mistake_in_a_number_is_named(tmp_path: Path, find: str, put: str, named: str) -> None:
    """A number's default lies within its limits, and its limits are there and in order."""
    assert find in STEPS
    assert named in refusal(tmp_path, MINE.split("[[model]]")[0] + STEPS.replace(find, put, 1))


@pytest.mark.parametrize(
    ("enum", "default", "named"),
    [
        ('["a", "b"]', '"c"', "style: default"),
        ('["a", "a"]', '"a"', "style: enum: a value stands there twice"),
        ('["a", " "]', '"a"', "style: enum"),
        ("[]", '"a"', "style: enum"),
    ],
)
def test_a_mistake_in_an_enum_is_named(tmp_path: Path, enum: str, default: str, named: str) -> None:
    """An enum has values, none blank and none twice, and its default is one of them."""
    row = f'[[parameters.mine]]\nname = "style"\ntype = "enum"\ndescription = ""\nenum = {enum}\ndefault = {default}\n'
    assert named in refusal(tmp_path, row + MINE)


@pytest.mark.parametrize(
    ("find", "put", "named"),
    [
        ('"input_images"', '"seed"', "flux-2-pro: reference_images.parameter: seed stands in the table already"),
        ('"input_images"', '"webhook_url"', "flux-2-pro: reference_images.parameter"),
        ("maximum = 8", "maximum = 0", "flux-2-pro: reference_images.maximum"),
        ("maximum = 8", "maximum = 8\nsingle = true", "flux-2-pro: reference_images.maximum"),
        ("maximum = 8", "maximum = 8\nmegapixels = 0", "flux-2-pro: reference_images.megapixels"),
        ("maximum = 8", "maximum = 8\nmegapixels = inf", "flux-2-pro: reference_images.megapixels"),
        ('credits = "2"', 'credits = "-2"', "flux-2-pro: reference_images: credits"),
        ('credits = "2"', "", "`credits`"),
    ],
)
def test_a_mistake_in_reference_images_is_named(tmp_path: Path, find: str, put: str, named: str) -> None:
    """Reference images need a free name, at least one picture, and a bound of what one costs."""
    assert find in REFERENCES
    assert named in refusal(tmp_path, PRO + REFERENCES.replace(find, put))


def test_a_resolution_without_a_price_is_named(tmp_path: Path) -> None:
    """Every resolution has a price, since a picture without one could not be held for."""
    assert 'flux-2-pro: prices: "4 MP" has no price' in refusal(tmp_path, PRO[: PRO.index('"4 MP"')])


def test_a_model_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    """One file may not define a model twice."""
    assert "model mine-1: stands there twice" in refusal(tmp_path, MINE + MINE[MINE.index("[[model]]") :])


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    """A misspelt section is a mistake, not something to skip."""
    assert "`models`" in refusal(tmp_path, MINE.replace("[[model]]", "[[models]]").replace("[model.", "[models."))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are each one line with the file's name."""
    noise = tmp_path / "noise.toml"
    noise.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.toml", tmp_path, noise):
        with pytest.raises(errors.SettingError) as caught:
            catalogue.load(path)
        assert str(path) in caught.value.message


def test_names_of_the_price_and_count_parameters_are_data(tmp_path: Path) -> None:
    """A model whose upstream says image_size and num_images is priced and multiplied by those."""
    rows = """
[[parameters.mine]]
name = "image_size"
type = "enum"
enum = ["small", "large"]
default = "small"
description = ""

[[parameters.mine]]
name = "num_images"
type = "integer"
minimum = 1
maximum = 2
default = 1
description = ""
"""
    own = MINE.replace("typical_s = 3", 'typical_s = 3\nresolution = "image_size"\noutputs = "num_images"')
    own = own.replace("any =", 'large = { credits = "4" }\nsmall =')
    model = catalogue.load(written(tmp_path, rows + own)).model("mine-1")
    assert list(model.prices) == ["small", "large"]
    assert price.hold(model, {"prompt": "a", "image_size": "large", "num_images": 2}) == 8_000_000
