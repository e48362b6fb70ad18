"""Reading the settings: what is needed for what, where texts come from, and that no mistake shows a secret."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway import errors
from gateway.settings import shapes, values
from gateway.settings.values import Purpose

ADMIN = "a" * 16 + "dmin-token-of-this-test"
SECRET = "secret key of this test; long enough"
REDIS = "redis://:redis-password@127.0.0.1:6379/0"
SERVE = MappingProxyType({"TORII_ADMIN_TOKEN": ADMIN, "TORII_SECRET_KEY": SECRET, "TORII_REDIS_URL": REDIS})
WORK = MappingProxyType({"PIXELDOJO_API_KEY": "pd_upstream-key", "TORII_SECRET_KEY": SECRET, "TORII_REDIS_URL": REDIS})


def read(purpose: Purpose = Purpose.UP, /, **environ: str) -> values.Settings:
    """The settings of just these variables."""
    return values.read(purpose, environ, env_file=None)


def mistake(purpose: Purpose = Purpose.UP, /, **environ: str) -> errors.SettingError:
    """The error that these variables raise; it is one line, and begins with the variable it names."""
    with pytest.raises(errors.SettingError) as caught:
        read(purpose, **environ)
    error = caught.value
    assert "\n" not in error.message
    assert error.param
    assert error.message.startswith(error.param)
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def test_defaults() -> None:
    """Without a variable set, everything has the default of the contract, and no secret has one."""
    settings = read()
    assert settings.pixeldojo_api_key is None
    assert settings.pixeldojo_api_base == "https://pixeldojo.ai/api/v1"
    assert settings.result_hosts == (("temp.pixeldojo.ai", None),)
    assert settings.reveal("database_url") == "sqlite+aiosqlite:///var/torii.db"
    assert settings.redis_url is None
    assert settings.archive_url == "var/archive"
    assert settings.admin_token == ()
    assert settings.secret_key == ()
    assert (settings.host, settings.port) == ("127.0.0.1", 8700)
    assert settings.public_url == "http://127.0.0.1:8700"
    assert settings.metrics_token is None
    assert settings.worker_metrics_port == 8701
    assert (settings.upstream_rpm, settings.upstream_concurrency) == (60, 20)
    assert (settings.image_url_ttl_s, settings.unknown_wait_s) == (86_400, 60)
    assert settings.log_prompts is False
    assert settings.catalogue is None
    assert (settings.upload_ttl_s, settings.upload_team_mib) == (30 * 86_400, 2048)


def test_fields_are_named_after_their_variables() -> None:
    """A field is its variable in lower case without ``TORII_``."""
    fields = values.Settings.model_fields
    assert values.variables() == tuple(str(field.validation_alias) for field in fields.values())
    for field, declared in fields.items():
        assert field == str(declared.validation_alias).lower().removeprefix("torii_")


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after the start."""
    settings = read()
    with pytest.raises(ValidationError):
        setattr(settings, "port", 1)  # noqa: B010  an assignment would be refused before it runs


@pytest.mark.parametrize(
    ("purpose", "environ", "missing"),
    [(Purpose.SERVE, SERVE, name) for name in SERVE]
    + [(Purpose.WORK, WORK, name) for name in WORK]
    + [(Purpose.STORE, {"TORII_SECRET_KEY": SECRET}, "TORII_SECRET_KEY")],
)
def test_each_command_names_what_it_lacks(purpose: Purpose, environ: Mapping[str, str], missing: str) -> None:
    """A variable that a command needs and lacks stops it with its name; with all of them it is read."""
    read(purpose, **environ)
    assert mistake(purpose, **{name: text for name, text in environ.items() if name != missing}).param == missing


def test_migrate_and_up_need_nothing() -> None:
    """``migrate`` has a database by default, and ``up`` makes its own secrets."""
    read(Purpose.MIGRATE)
    read(Purpose.UP)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_no_command_reads_a_secret_it_has_no_use_for(purpose: Purpose, tmp_path: Path) -> None:
    """A secret that a command never uses is not even opened, so its file may be unreadable there."""
    absent = {f"{name}_FILE": str(tmp_path / "absent") for name in purpose.unread}
    settings = read(purpose, **({**SERVE, **WORK, **absent} | dict.fromkeys(purpose.unread, "")))
    for name in purpose.unread - {"TORII_DATABASE_URL"}:
        assert not getattr(settings, name.lower().removeprefix("torii_"))


def test_serve_ignores_the_upstream_key() -> None:
    """The front door never holds the key that spends credits."""
    assert read(Purpose.SERVE, **SERVE, PIXELDOJO_API_KEY="pd_upstream-key").pixeldojo_api_key is None


def test_several_mistakes_are_one_line() -> None:
    """The first wrong variable in declared order is explained, the others are counted and named."""
    error = mistake(Purpose.SERVE, TORII_PORT="none", TORII_UPSTREAM_RPM="0", TORII_REDIS_URL=REDIS)
    assert error.param == "TORII_ADMIN_TOKEN"
    assert "(3 more to mend: TORII_SECRET_KEY, TORII_PORT, TORII_UPSTREAM_RPM)" in error.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PIXELDOJO_API_KEY", "two words"),
        ("PIXELDOJO_API_BASE", "pixeldojo.ai/api/v1"),
        ("PIXELDOJO_API_BASE", "https://pixeldojo.ai/api?key=1"),
        ("TORII_RESULT_HOSTS", "https://temp.pixeldojo.ai"),
        ("TORII_RESULT_HOSTS", "temp.pixeldojo.ai:0"),
        ("TORII_RESULT_HOSTS", "a,,b"),
        ("TORII_DATABASE_URL", "sqlite:///var/torii.db"),
        ("TORII_DATABASE_URL", "sqlite+aiosqlite://"),
        ("TORII_DATABASE_URL", "sqlite+aiosqlite:///:memory:"),
        ("TORII_DATABASE_URL", "postgresql://host/torii"),
        ("TORII_DATABASE_URL", "mysql://host/torii"),
        ("TORII_REDIS_URL", "http://127.0.0.1:6379"),
        ("TORII_REDIS_URL", "redis://"),
        ("TORII_REDIS_URL", "redis://host:port"),
        ("TORII_ARCHIVE_URL", "gs://bucket"),
        ("TORII_ARCHIVE_URL", "s3://"),
        ("TORII_ARCHIVE_URL", "s3://bucket/../other"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000"),
        ("TORII_ADMIN_TOKEN", "short"),
        ("TORII_ADMIN_TOKEN", ADMIN + ",short"),
        ("TORII_ADMIN_TOKEN", SECRET),
        ("TORII_SECRET_KEY", "x" * 31),
        ("TORII_SECRET_KEY", SECRET + ","),
        ("TORII_HOST", "http://127.0.0.1"),
        ("TORII_HOST", "127.0.0.1:8700"),
        ("TORII_PORT", "0"),
        ("TORII_PORT", "65536"),
        ("TORII_PUBLIC_URL", "ftp://torii.example"),
        ("TORII_PUBLIC_URL", "https://user:pass@torii.example"),
        ("TORII_METRICS_TOKEN", "x" * 15),
        ("TORII_WORKER_METRICS_PORT", "-1"),
        ("TORII_UPSTREAM_RPM", "0"),
        ("TORII_UPSTREAM_CONCURRENCY", "many"),
        ("TORII_IMAGE_URL_TTL_S", "0"),
        ("TORII_UNKNOWN_WAIT_S", "-1"),
        ("TORII_LOG_PROMPTS", "perhaps"),
        ("OTEL_SDK_DISABLED", "perhaps"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://key:secret@collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://collector:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization: Bearer xyz"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=line%0Abreak"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_RESOURCE_ATTRIBUTES", "production"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
    ],
)
def test_bad_values_are_named(name: str, text: str) -> None:
    """A value that cannot be meant stops the start with its variable's name alone."""
    error = mistake(**{name: text})
    assert error.param == name
    assert "more to mend" not in error.message


@pytest.mark.parametrize("name", sorted(values.SECRETS))
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=4))
def test_no_error_shows_a_secret(name: str, text: str) -> None:
    """Whatever a secret's variable holds, neither the error nor the settings' ``repr`` repeats it."""
    planted = f"\x01{text}"  # a blank that no shape takes, save those that take anything
    try:
        shown = repr(read(**{name: planted, "TORII_PORT": "wrong"}))
    except errors.SettingError as error:
        shown = error.message
    assert planted not in shown


def test_repr_shows_no_secret() -> None:
    """``repr`` and ``str`` of the settings show none of the secrets, nor the passwords in URLs."""
    settings = read(
        **SERVE,
        PIXELDOJO_API_KEY="pd_upstream-key",
        TORII_METRICS_TOKEN="metrics-token-16",
        AWS_SECRET_ACCESS_KEY="aws-secret-key",
        TORII_DATABASE_URL="postgresql+asyncpg://torii:p%40ssword@db/torii",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20collector-key,x-other=other-collector-key",
    )
    assert set(settings.secrets()) == {
        "pd_upstream-key", "metrics-token-16", "aws-secret-key", "p%40ssword", "p@ssword", "redis-password",
        ADMIN, SECRET, "Bearer collector-key", "collector-key", "other-collector-key",
    }  # fmt: skip
    for text in settings.secrets():
        assert text not in repr(settings)
        assert text not in str(settings)


def test_reveal_names_what_is_not_set() -> None:
    """Asking for a secret that is not set names its variable instead of handing out nothing."""
    with pytest.raises(errors.SettingError, match="TORII_REDIS_URL is not set"):
        read().reveal("redis_url")
    assert read(TORII_REDIS_URL=REDIS).reveal("redis_url") == REDIS


def test_comma_lists_keep_their_order() -> None:
    """While a secret rotates, the first element is the current one."""
    other = "b" * 32
    settings = read(TORII_ADMIN_TOKEN=f"{ADMIN}, {other}", TORII_SECRET_KEY=f"{other},{SECRET}")
    assert [token.get_secret_value() for token in settings.admin_token] == [ADMIN, other]
    assert [key.get_secret_value() for key in settings.secret_key] == [other, SECRET]


def test_result_hosts() -> None:
    """Result hosts are names or addresses with or without a port, in lower case."""
    settings = read(TORII_RESULT_HOSTS="Temp.pixeldojo.ai, 127.0.0.1:9000,[::1]:9001,[::1],::1")
    assert settings.result_hosts == (
        shapes.ResultHost("temp.pixeldojo.ai", None),
        shapes.ResultHost("127.0.0.1", 9000),
        shapes.ResultHost("::1", 9001),
        shapes.ResultHost("::1", None),
        shapes.ResultHost("::1", None),
    )


@pytest.mark.parametrize("purpose", [Purpose.SERVE, Purpose.WORK, Purpose.UP])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "torii.internal", "192.0.2.1"])  # noqa: S104  the point of the test
def test_public_url_is_required_beyond_loopback(purpose: Purpose, host: str) -> None:
    """A gateway that listens beyond loopback is told its public address, since it cannot know it."""
    environ = {**SERVE, **WORK, "TORII_HOST": host}
    assert mistake(purpose, **environ).param == "TORII_PUBLIC_URL"
    assert read(purpose, **environ, TORII_PUBLIC_URL="https://t.example/x/").public_url == "https://t.example/x"
    read(Purpose.STORE, **environ)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8701"),
        ("localhost", "http://localhost:8701"),
        ("::1", "http://[::1]:8701"),
        ("[::1]", "http://[::1]:8701"),
    ],
)
def test_public_url_defaults_to_where_it_listens(host: str, url: str) -> None:
    """On loopback the public URL is host and port; an IPv6 host stands in brackets there."""
    assert read(Purpose.SERVE, **SERVE, TORII_HOST=host, TORII_PORT="8701").public_url == url


def test_half_a_pair_of_object_store_keys() -> None:
    """An S3 archive needs both of its keys or neither; another archive does not look at them."""
    assert mistake(TORII_ARCHIVE_URL="s3://pictures/prod", AWS_ACCESS_KEY_ID="AK").param == "AWS_SECRET_ACCESS_KEY"
    assert mistake(TORII_ARCHIVE_URL="s3://pictures", AWS_SECRET_ACCESS_KEY="SK").param == "AWS_ACCESS_KEY_ID"
    assert read(TORII_ARCHIVE_URL="s3://pictures/prod/").archive_url == "s3://pictures/prod"
    assert read(AWS_ACCESS_KEY_ID="AK").archive_url == "var/archive"


@pytest.mark.parametrize("name", sorted(values.SECRETS))
def test_every_secret_may_be_a_file(name: str, tmp_path: Path) -> None:
    """Each secret is also read from the file that ``…_FILE`` names, less one trailing newline."""
    shaped = {
        "TORII_DATABASE_URL": "postgresql+asyncpg://db/t",
        "TORII_REDIS_URL": REDIS,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={ADMIN}",
    }
    text = shaped.get(name, ADMIN)
    file = tmp_path / "secret"
    direct = read(**{name: text})
    for ending in ("", "\n", "\r\n"):
        file.write_bytes((text + ending).encode())
        assert read(**{f"{name}_FILE": str(file)}) == direct
    error = mistake(**{name: text, f"{name}_FILE": str(file)})
    assert error.param == name
    assert f"{name}_FILE" in error.message


def test_traces_go_nowhere_unless_they_are_told() -> None:
    """Tracing is off until an endpoint is named, and can be switched off where one is named for everybody."""
    assert read().traces_url is None
    assert read(OTEL_SERVICE_NAME="torii", OTEL_EXPORTER_OTLP_HEADERS="a=b").traces_url is None
    base = "http://collector:4318/"
    assert read(OTEL_EXPORTER_OTLP_ENDPOINT=base).traces_url == "http://collector:4318/v1/traces"
    assert read(OTEL_EXPORTER_OTLP_ENDPOINT=base, OTEL_SDK_DISABLED="true").traces_url is None
    own = "https://traces.example/otlp"
    both = read(OTEL_EXPORTER_OTLP_ENDPOINT=base, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=own)
    assert both.traces_url == own


def test_lists_of_pairs_are_read_as_opentelemetry_writes_them() -> None:
    """Headers and resource attributes are comma lists of ``name=value`` with percent-encoded values, kept in order."""
    settings = read(
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20dTpw%3D%3D, x-scope = a%2Cb",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=prod,team=pictures=ours",
    )
    assert settings.traces_headers == (("authorization", "Basic dTpw=="), ("x-scope", "a,b"))
    assert settings.otel_resource_attributes == (("deployment.environment", "prod"), ("team", "pictures=ours"))


def test_other_settings_have_no_file() -> None:
    """Only secrets come from files: a plain setting's ``_FILE`` is not looked at."""
    assert read(TORII_PORT_FILE="/nowhere").port == 8700


def test_secret_files_that_cannot_be_used(tmp_path: Path) -> None:
    """A secret's file that is absent, a folder, empty or not text is named by its variable."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "absent", tmp_path, empty, binary):
        error = mistake(TORII_SECRET_KEY_FILE=str(path))
        assert error.param == "TORII_SECRET_KEY"
        assert "TORII_SECRET_KEY_FILE" in error.message
        assert "more to mend" not in error.message


def test_environment_goes_before_dotenv(tmp_path: Path) -> None:
    """``.env`` fills in what the environment leaves open; a ``$`` in it is just a character."""
    file = tmp_path / ".env"
    file.write_text("TORII_PORT=1111\nTORII_UPSTREAM_RPM=7\nTORII_SECRET_KEY_FILE=/nowhere\nUNRELATED=1\n"
                    f'TORII_ADMIN_TOKEN="{ADMIN}${{HOME}}"\n')  # fmt: skip
    settings = values.read(Purpose.UP, {"TORII_PORT": "2222", "TORII_SECRET_KEY": SECRET}, file)
    assert (settings.port, settings.upstream_rpm) == (2222, 7)
    assert settings.admin_token[0].get_secret_value() == ADMIN + "${HOME}"
    assert values.read(Purpose.UP, {}, tmp_path / "absent") == read()


def test_dotenv_that_cannot_be_read(tmp_path: Path) -> None:
    """A ``.env`` that is no text stops the start with its path."""
    file = tmp_path / ".env"
    file.write_bytes(b"TORII_PORT=\xff")
    with pytest.raises(errors.SettingError, match="not UTF-8") as caught:
        values.read(Purpose.UP, {}, file)
    assert caught.value.param == str(file)


def test_empty_means_not_set() -> None:
    """An empty variable is as good as none: compose files pass those that are left out."""
    assert read(**dict.fromkeys(values.variables(), "")) == read()


def test_names_are_exact() -> None:
    """Another case is another variable, and a variable nobody knows changes nothing."""
    assert read(torii_port="1", TORII_SOMETHING="x") == read()


def test_misspelt_variables_are_pointed_out() -> None:
    """A variable close to a known one is probably a slip of the pen; all others are nobody's business."""
    environ = {
        "TORII_UPSTREM_RPM": "1",
        "torii_port": "1",
        "PIXELDOJO_APIKEY": "1",
        "TORII_PORT_FILE": "x",
        "TORII_SECRET_KEY_FILE": "x",
        "TORII_PORT": "1",
        "PATH": "/bin",
    }
    planned = (
        "TORII_TRUSTED_PROXIES", "TORII_CORS_ORIGINS", "TORII_UPSTREAM_EXCLUSIVE", "TORII_UPSTREAM_WEBHOOKS",
        "TORII_IMAGE_DELIVERY", "TORII_WEBHOOK_ALLOW_NETS", "TORII_WAIT_MAX_S", "TORII_TEST_REQUIRE",
    )  # fmt: skip
    assert values.unknown({**environ, **dict.fromkeys(planned, "1")}, None) == (
        ("PIXELDOJO_APIKEY", "PIXELDOJO_API_KEY"),
        ("TORII_UPSTREM_RPM", "TORII_UPSTREAM_RPM"),
        ("torii_port", "TORII_PORT"),
    )


@given(st.ip_addresses(v=4, network="127.0.0.0/8").map(str) | st.sampled_from(["::1", "localhost", "LOCALHOST."]))
def test_loopback(host: str) -> None:
    """All of 127/8, ::1 and localhost are this machine."""
    assert shapes.is_loopback(host)
