"""The options of `torii generate` that the catalogue makes, and parameters as texts."""

import pytest
import typer
from typer.main import get_command

from cli import generate, wishes
from gateway.images import catalogue


def test_each_parameter_has_its_option() -> None:
    """Each parameter of the shipped models is an option of its own type with a help, but for the prompt."""
    models = catalogue.load()
    named = {each.name for model in models for each in model.parameters} - {"prompt"}
    options = {option.name: option for option in wishes.options(models)}
    assert set(options) == named
    assert all(option.help for option in options.values())
    assert options["num_outputs"].type_descriptor.annotation is int
    assert options["prompt_upsampling"].secondary_opts == ["--no-prompt-upsampling"]


def test_no_option_has_two_meanings() -> None:
    """A parameter of a model never takes the name of an option of the command."""
    own = {word for each in get_command(generate.app).params for word in (*each.opts, *each.secondary_opts)}
    made = {word for each in wishes.options(catalogue.load()) for word in (*each.opts, *each.secondary_opts)}
    assert not own & made


def test_the_model_in_the_help_is_the_first() -> None:
    """What the help says is meant without --model is what is meant."""
    (option,) = [each for each in get_command(generate.app).params if each.name == "model"]
    assert wishes.first_model() in str(vars(option)["help"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("0.5", 0.5), ("true", True), ("1:1", "1:1"), ("1 MP", "1 MP"), ('"7"', "7"), ("", ""),
        ("a=b", "a=b"), ('["https://a/b"]', ["https://a/b"]), ("NaN", "NaN"), ("null", None),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    """A value is JSON where it is that, else the text."""
    assert wishes.parse([f"name={text}"]) == {"name": value}


@pytest.mark.parametrize("pairs", [["name"], ["=7"], ["a=1", "a=2"]])
def test_what_is_no_parameter(pairs: list[str]) -> None:
    """A text without a name or a sign, and a name given twice, are mistakes."""
    with pytest.raises(typer.BadParameter):
        wishes.parse(pairs)
