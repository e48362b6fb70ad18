"""The settings: one frozen value, read once at an entry point from the environment, ``.env`` and secrets' files.

Never a default for a secret, never a secret's text in an error or in ``repr``, never read again after the start.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway import errors
from gateway.settings import shapes, sources

DOTENV = Path(".env")

#: Each may also be given as ``…_FILE``. The URLs are among them since they may carry passwords.
SECRETS = frozenset(
    {
        "PIXELDOJO_API_KEY",
        "TORII_DATABASE_URL",
        "TORII_REDIS_URL",
        "AWS_SECRET_ACCESS_KEY",
        "TORII_ADMIN_TOKEN",
        "TORII_SECRET_KEY",
        "TORII_METRICS_TOKEN",
        "OTEL_EXPORTER_OTLP_HEADERS",
    }
)

#: Shorter texts are too common to be masked wherever they occur.
_MASKED_CHARACTERS_MIN = 8
_TEN_YEARS_S = 10 * 366 * 86_400

Port = Annotated[int, Field(ge=1, le=65_535)]
PortOrAny = Annotated[int, Field(ge=0, le=65_535)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Purpose(StrEnum):
    """What the settings are read for: each command needs other ones, and leaves alone the secrets it has no use for."""

    SERVE = "serve"
    WORK = "work"
    MIGRATE = "migrate"
    #: The commands that work on the stores: team, key, jobs, doctor …
    STORE = "store"
    UP = "up"

    @property
    def required(self) -> frozenset[str]:
        """The variables without which this command cannot start."""
        match self:
            case Purpose.SERVE:
                return frozenset({"TORII_REDIS_URL", "TORII_ADMIN_TOKEN", "TORII_SECRET_KEY"})
            case Purpose.WORK:
                return frozenset({"PIXELDOJO_API_KEY", "TORII_REDIS_URL", "TORII_SECRET_KEY"})
            case Purpose.STORE:
                return frozenset({"TORII_SECRET_KEY"})
            case Purpose.MIGRATE | Purpose.UP:
                return frozenset()

    @property
    def unread(self) -> frozenset[str]:
        """The secrets this command never reads, so that its process cannot leak them."""
        match self:
            case Purpose.SERVE:
                return frozenset({"PIXELDOJO_API_KEY"})
            case Purpose.WORK:
                return frozenset({"TORII_ADMIN_TOKEN"})
            case Purpose.STORE:
                return frozenset({"PIXELDOJO_API_KEY", "TORII_METRICS_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"})
            case Purpose.MIGRATE:
                return SECRETS - {"TORII_DATABASE_URL"}
            case Purpose.UP:
                return frozenset()

    @property
    def hands_out_urls(self) -> bool:
        """Whether this command must know the address that callers reach the gateway by."""
        return self in {Purpose.SERVE, Purpose.WORK, Purpose.UP}

    @property
    def hands_out_pictures(self) -> bool:
        """Whether pictures are asked for here."""
        return self in {Purpose.SERVE, Purpose.UP}


def _public_url(data: dict[str, Any]) -> str:
    return f"http://{shapes.bracketed(data['host'])}:{data['port']}"


class Settings(BaseSettings):
    """What the operator has set. Obtain one with `read`; fields are declared in the order of ``docs/settings.md``.

    Units are in the names: ``_s`` seconds, ``_rpm`` requests a minute. A comma list is a tuple, the current one first.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    pixeldojo_api_key: Annotated[SecretStr, BeforeValidator(shapes.credential)] | None = Field(
        default=None, validation_alias="PIXELDOJO_API_KEY"
    )
    pixeldojo_api_base: Annotated[str, BeforeValidator(shapes.web_url)] = Field(
        default="https://pixeldojo.ai/api/v1", validation_alias="PIXELDOJO_API_BASE"
    )
    result_hosts: Annotated[tuple[shapes.ResultHost, ...], BeforeValidator(shapes.result_hosts)] = Field(
        default=(shapes.ResultHost("temp.pixeldojo.ai", None),), validation_alias="TORII_RESULT_HOSTS"
    )
    database_url: Annotated[SecretStr, BeforeValidator(shapes.database_url)] = Field(
        default=SecretStr("sqlite+aiosqlite:///var/torii.db"), validation_alias="TORII_DATABASE_URL"
    )
    redis_url: Annotated[SecretStr, BeforeValidator(shapes.redis_url)] | None = Field(
        default=None, validation_alias="TORII_REDIS_URL"
    )
    archive_url: Annotated[str, BeforeValidator(shapes.archive_url)] = Field(
        default="var/archive", validation_alias="TORII_ARCHIVE_URL"
    )
    aws_access_key_id: str | None = Field(default=None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_region: str | None = Field(default=None, validation_alias="AWS_REGION")
    aws_endpoint_url: Annotated[str, BeforeValidator(shapes.web_url)] | None = Field(
        default=None, validation_alias="AWS_ENDPOINT_URL"
    )
    admin_token: Annotated[tuple[SecretStr, ...], BeforeValidator(shapes.admin_tokens)] = Field(
        default=(), validation_alias="TORII_ADMIN_TOKEN"
    )
    secret_key: Annotated[tuple[SecretStr, ...], BeforeValidator(shapes.secret_keys)] = Field(
        default=(), validation_alias="TORII_SECRET_KEY"
    )
    host: Annotated[str, BeforeValidator(shapes.host)] = Field(default="127.0.0.1", validation_alias="TORII_HOST")
    port: Port = Field(default=8700, validation_alias="TORII_PORT")
    public_url: Annotated[str, BeforeValidator(shapes.web_url)] = Field(
        default_factory=_public_url, validation_alias="TORII_PUBLIC_URL"
    )
    metrics_token: Annotated[SecretStr, BeforeValidator(shapes.metrics_token)] | None = Field(
        default=None, validation_alias="TORII_METRICS_TOKEN"
    )
    trusted_proxies: Annotated[tuple[shapes.Network, ...], BeforeValidator(shapes.proxies)] = Field(
        default=(), validation_alias="TORII_TRUSTED_PROXIES"
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(shapes.origins)] = Field(
        default=(), validation_alias="TORII_CORS_ORIGINS"
    )
    worker_metrics_port: PortOrAny = Field(default=8701, validation_alias="TORII_WORKER_METRICS_PORT")
    upstream_rpm: Count = Field(default=60, validation_alias="TORII_UPSTREAM_RPM")
    upstream_concurrency: Count = Field(default=20, validation_alias="TORII_UPSTREAM_CONCURRENCY")
    upstream_exclusive: bool = Field(default=False, validation_alias="TORII_UPSTREAM_EXCLUSIVE")
    upstream_webhooks: bool = Field(default=False, validation_alias="TORII_UPSTREAM_WEBHOOKS")
    image_url_ttl_s: Annotated[int, Field(ge=1, le=_TEN_YEARS_S)] = Field(
        default=86_400, validation_alias="TORII_IMAGE_URL_TTL_S"
    )
    image_delivery: Literal["proxy", "redirect"] = Field(default="proxy", validation_alias="TORII_IMAGE_DELIVERY")
    webhook_allow_nets: Annotated[tuple[shapes.Network, ...], BeforeValidator(shapes.networks)] = Field(
        default=(), validation_alias="TORII_WEBHOOK_ALLOW_NETS"
    )
    upload_ttl_s: Annotated[int, Field(ge=60, le=_TEN_YEARS_S)] = Field(
        default=30 * 86_400, validation_alias="TORII_UPLOAD_TTL_S"
    )
    upload_team_mib: Count = Field(default=2048, validation_alias="TORII_UPLOAD_TEAM_MIB")
    wait_max_s: Annotated[int, Field(ge=1, le=3600)] = Field(default=280, validation_alias="TORII_WAIT_MAX_S")
    unknown_wait_s: Annotated[int, Field(ge=0, le=86_400)] = Field(default=60, validation_alias="TORII_UNKNOWN_WAIT_S")
    log_prompts: bool = Field(default=False, validation_alias="TORII_LOG_PROMPTS")
    catalogue: Path | None = Field(default=None, validation_alias="TORII_CATALOGUE")
    # The names and meanings of the rest are OpenTelemetry's.
    otel_sdk_disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    otel_exporter_otlp_endpoint: Annotated[str, BeforeValidator(shapes.web_url)] | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    otel_exporter_otlp_traces_endpoint: Annotated[str, BeforeValidator(shapes.web_url)] | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )
    otel_exporter_otlp_headers: Annotated[SecretStr, BeforeValidator(shapes.header_list)] | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_HEADERS"
    )
    otel_exporter_otlp_protocol: Literal["http/protobuf"] = Field(
        default="http/protobuf", validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    otel_exporter_otlp_certificate: Path | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_CERTIFICATE")
    otel_service_name: Annotated[str, Field(max_length=200)] = Field(
        default="torii", validation_alias="OTEL_SERVICE_NAME"
    )
    otel_resource_attributes: Annotated[tuple[tuple[str, str], ...], BeforeValidator(shapes.pairs)] = Field(
        default=(), validation_alias="OTEL_RESOURCE_ATTRIBUTES"
    )
    otel_traces_sampler: Literal[
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
        "always_on",
        "always_off",
        "traceidratio",
    ] = Field(default="parentbased_always_on", validation_alias="OTEL_TRACES_SAMPLER")
    otel_traces_sampler_arg: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        default=1.0, validation_alias="OTEL_TRACES_SAMPLER_ARG"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic-settings calls with these names
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `read` gathered: the environment is a parameter there, and files have rules of their own."""
        return (init_settings,)

    def reveal(self, field: str) -> str:
        """The text of one secret field (not of a comma list); raises ``SettingError`` when it is not set."""
        secret: SecretStr | None = getattr(self, field)
        if secret is None:
            variable = str(type(self).model_fields[field].validation_alias)
            raise errors.SettingError(f"{variable} is not set", param=variable)
        return secret.get_secret_value()

    @property
    def links_reach_upstream(self) -> bool:
        """Whether the upstream could fetch what lies under ``public_url``: never at a loopback address but its own."""
        return not _on_loopback(self.public_url) or _on_loopback(self.pixeldojo_api_base)

    @property
    def traces_url(self) -> str | None:
        """Where spans are sent, with the path; none where tracing is off."""
        if self.otel_sdk_disabled:
            return None
        base = self.otel_exporter_otlp_endpoint
        return self.otel_exporter_otlp_traces_endpoint or (None if base is None else f"{base}/v1/traces")

    @property
    def traces_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that go with them."""
        given = self.otel_exporter_otlp_headers
        return () if given is None else shapes.pairs(given.get_secret_value())

    def secrets(self) -> tuple[str, ...]:
        """Every text that a log must mask wherever it turns up: secrets, and the passwords inside URLs."""
        return tuple(sorted({text for text in self._secret_texts() if len(text) >= _MASKED_CHARACTERS_MIN}))

    def _secret_texts(self) -> Iterator[str]:
        single = (self.pixeldojo_api_key, self.aws_secret_access_key, self.metrics_token)
        for secret in (*single, *self.admin_token, *self.secret_key):
            if secret is not None:
                yield secret.get_secret_value()
        for _, value in self.traces_headers:
            # Of "Bearer xyz" the last word is the secret.
            yield from (value, value.rpartition(" ")[2])
        for url in (self.database_url, self.redis_url):
            password = urlsplit(url.get_secret_value()).password if url is not None else None
            if password:
                yield from (password, unquote(password))


def variables() -> tuple[str, ...]:
    """The name of every variable, in declared order."""
    return tuple(str(field.validation_alias) for field in Settings.model_fields.values())


def read(purpose: Purpose, environ: Mapping[str, str] | None = None, env_file: Path | None = DOTENV) -> Settings:
    """The settings for ``purpose``, from ``environ`` (the process's own when ``None``) and, behind it, ``env_file``.

    Raises ``SettingError`` with one line for the first wrong variable in declared order; it names the others.
    """
    given = os.environ if environ is None else environ
    names = [name for name in variables() if name not in purpose.unread]
    texts, problems = sources.gather(names, SECRETS, given, sources.dotenv_file(env_file))
    problems = {**_missing(purpose, texts), **problems}
    settings = None
    try:
        settings = Settings(**texts)  # type: ignore[arg-type]  # texts, which validation turns into each field's type
    except ValidationError as error:
        problems = {**_invalid(error), **problems}
    if problems or settings is None:
        # Raised outside the except block: a ValidationError in the chain would show what the operator typed.
        raise _mistake(problems)
    return settings


def unknown(environ: Mapping[str, str] | None = None, env_file: Path | None = DOTENV) -> tuple[tuple[str, str], ...]:
    """Variables that are probably misspelt, each with the name that was probably meant; for a warning at the start."""
    given = {**sources.dotenv_file(env_file), **(os.environ if environ is None else environ)}
    known = (*variables(), *(name + sources.FILE_SUFFIX for name in SECRETS))
    suspects = (name for name in given if name not in known and name.upper().startswith(("TORII_", "PIXELDOJO_")))
    meant = ((name, difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.86)) for name in sorted(suspects))
    return tuple((name, matches[0]) for name, matches in meant if matches)


def _missing(purpose: Purpose, texts: Mapping[str, str]) -> dict[str, str]:
    problems = {name: _needed(purpose, name) for name in purpose.required if name not in texts}
    if purpose.hands_out_urls and "TORII_PUBLIC_URL" not in texts and _is_reachable(texts.get("TORII_HOST")):
        problems["TORII_PUBLIC_URL"] = "is required when TORII_HOST is not a loopback address"
    in_bucket = texts.get("TORII_ARCHIVE_URL", "").startswith("s3://")
    if purpose.hands_out_pictures and texts.get("TORII_IMAGE_DELIVERY") == "redirect" and not in_bucket:
        problems["TORII_IMAGE_DELIVERY"] = "must be proxy unless TORII_ARCHIVE_URL is s3://…: a folder has no URLs"
    if in_bucket and "AWS_SECRET_ACCESS_KEY" not in purpose.unread:
        # Neither is fine: the machine's role answers then. One alone is a mistake.
        pair = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        absent = [name for name in pair if name not in texts]
        if len(absent) == 1:
            other = next(name for name in pair if name not in absent)
            problems[absent[0]] = f"is required when {other} is set"
    return problems


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host.endswith(".localhost") or shapes.is_loopback(shapes.host(host))
    except ValueError:
        return False


def _is_reachable(host: str | None) -> bool:
    try:
        return host is not None and not shapes.is_loopback(shapes.host(host))
    except ValueError:
        return False  # that mistake has a line of its own


def _needed(purpose: Purpose, name: str) -> str:
    command = "this command" if purpose is Purpose.STORE else f"`torii {purpose}`"
    file = f", or {name}{sources.FILE_SUFFIX}" if name in SECRETS else ""
    return f"is required by {command}; set it{file}"


def _invalid(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "default_factory_not_called":
            continue  # the public URL's default, for want of a host or port that is reported itself
        cause = detail.get("ctx", {}).get("error")
        text = str(cause) if cause is not None else detail["msg"].replace("Input should be", "must be", 1)
        problems.setdefault(str(detail["loc"][0]), text)
    return problems


def _mistake(problems: Mapping[str, str]) -> errors.SettingError:
    wrong = [name for name in variables() if name in problems]
    first, *others = wrong
    more = f" ({len(others)} more to mend: {', '.join(others)})" if others else ""
    return errors.SettingError(f"{first} {problems[first]}{more}", param=first)
