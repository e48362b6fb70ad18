"""The models that are sold here: read once at an entry point, from models.toml and an operator's file of the same form.

Never asks the upstream, and never skips a mistake: a wrong file stops the start with one line that names the field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from gateway import errors
from gateway.images import checks, definition, spelling
from gateway.images.model import Model

#: The setting that names the operator's file.
SETTING = "TORII_CATALOGUE"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models by their ids, in the order of the files."""

    models: Mapping[str, Model]

    def model(self, api_id: str) -> Model:
        """The model of that id. Raises ``ModelNotFound``, which suggests the nearest one."""
        found = self.models.get(api_id)
        if found is None:
            tail = spelling.suggestion(api_id, self.models)
            raise errors.ModelNotFound(f'there is no model "{spelling.plain(api_id)}"{tail}', param="model")
        return found

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def __len__(self) -> int:
        return len(self.models)


def load(extra: Path | None = None) -> Catalogue:
    """The shipped catalogue, with the models of the operator's file added or put in the place of their namesakes.

    Raises ``SettingError`` for ``TORII_CATALOGUE``: the message names the file, the model and the field.
    """
    shipped = resources.files("gateway.images").joinpath("models.toml").read_bytes()
    pages = _read("models.toml", shipped, definition.EMPTY)
    models = dict(pages.models)
    if extra is not None:
        try:
            content = extra.read_bytes()
        except OSError as error:
            raise _mistake(str(extra), error.strerror or "cannot be read") from None
        models |= _read(str(extra), content, pages).models
    return Catalogue(MappingProxyType(models))


def _read(source: str, content: bytes, earlier: definition.Definition) -> definition.Definition:
    try:
        return definition.parse(content, earlier)
    except checks.Mistake as mistake:
        raise _mistake(source, str(mistake)) from None


def _mistake(source: str, reason: str) -> errors.SettingError:
    return errors.SettingError(f"{SETTING}: {source}: {reason}", param=SETTING)
