"""Reads a run's body against its model: a checked order, or the field that is wrong. Spends nothing."""

from dataclasses import dataclass
from typing import Any

import msgspec

from emulator import catalogue

URL_LIMIT = 2083


class Invalid(Exception):
    """The body is not a valid request; the message names the field."""


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request: `parameters` as given without `webhook_url`, `settled` with defaults filled in."""

    model: catalogue.Model
    parameters: dict[str, Any]
    settled: dict[str, Any]
    webhook_url: str | None
    #: What it starts from, once that was fetched.
    references: tuple[dict[str, Any], ...] = ()


def read(model: catalogue.Model, body: bytes, *, webhooks: bool) -> Order:
    """Check a body; raises `Invalid`. Without `webhooks` the field `webhook_url` is an unknown one."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("the body must be JSON") from None
    if not isinstance(given, dict):
        raise Invalid("the body must be a JSON object")
    webhook_url = _webhook_url(given) if webhooks else None
    for name in given:
        if name not in model.parameters:
            raise Invalid(f"unknown parameter: {name}")
    for name, row in model.parameters.items():
        if name in given:
            _check(name, row, given[name])
        elif row.required:
            raise Invalid(f"{name} is required")
    defaults = {name: row.default for name, row in model.parameters.items() if row.default is not None}
    return Order(model, given, defaults | given, webhook_url)


def _webhook_url(given: dict[str, Any]) -> str | None:
    if "webhook_url" not in given:
        return None
    url = given.pop("webhook_url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")) or len(url) > URL_LIMIT:
        raise Invalid("webhook_url must be an http or https URL")
    return url


def _check(name: str, row: catalogue.Parameter, value: object) -> None:
    if row.type == "integer":
        _check_integer(name, row, value)
    elif row.type == "boolean":
        if not isinstance(value, bool):
            raise Invalid(f"{name} must be a boolean")
    elif row.type == "array":
        _check_array(name, row, value)
    else:
        _check_string(name, row, value)


def _check_integer(name: str, row: catalogue.Parameter, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(f"{name} must be an integer")
    if row.minimum is not None and value < row.minimum:
        raise Invalid(f"{name} must be at least {row.minimum}")
    if row.maximum is not None and value > row.maximum:
        raise Invalid(f"{name} must be at most {row.maximum}")


def _check_array(name: str, row: catalogue.Parameter, value: object) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Invalid(f"{name} must be an array of strings")
    if row.min_items is not None and len(value) < row.min_items:
        raise Invalid(f"{name} must have at least {row.min_items} item")
    if row.max_items is not None and len(value) > row.max_items:
        raise Invalid(f"{name} must have at most {row.max_items} items")


def _check_string(name: str, row: catalogue.Parameter, value: object) -> None:
    if not isinstance(value, str):
        raise Invalid(f"{name} must be a string")
    if row.required and not value:
        raise Invalid(f"{name} must not be empty")
    if row.enum is not None and value not in row.enum:
        raise Invalid(f"{name} must be one of: {', '.join(row.enum)}")
