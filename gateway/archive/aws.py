"""How to reach an S3 bucket: addresses, keys, time-outs and retries, all explicit. Sends nothing itself."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

from gateway.settings import values

if TYPE_CHECKING:  # obstore has these in its stubs alone
    from obstore.store import ClientConfig, RetryConfig, S3Config

SCHEME = "s3://"

_CONNECT_TIMEOUT = timedelta(seconds=3)
_REQUEST_TIMEOUT = timedelta(seconds=20)
_RETRIES = 2
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an S3 bucket; without keys, the machine's role is asked as the AWS tools would."""

    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    region: str | None = None
    endpoint_url: str | None = None


def access(settings: values.Settings) -> Access:
    """What the settings say about S3."""
    secret = settings.aws_secret_access_key
    return Access(
        access_key_id=settings.aws_access_key_id,
        secret_access_key=secret.get_secret_value() if secret is not None else None,
        region=settings.aws_region,
        endpoint_url=settings.aws_endpoint_url,
    )


def store(url: str, access: Access) -> S3Store:
    """The store at ``s3://bucket/prefix``; nothing is asked of it yet. It neither makes nor checks the bucket."""
    name, _, prefix = url.removeprefix(SCHEME).partition("/")
    config: S3Config = {
        "region": access.region or "us-east-1",
        # Many S3 servers know neither host names per bucket nor deleting several objects at once.
        "virtual_hosted_style_request": access.endpoint_url is None,
        "disable_bulk_delete": True,
    }
    if access.endpoint_url is not None:
        config["endpoint"] = access.endpoint_url
    if access.access_key_id is not None and access.secret_access_key is not None:
        config["access_key_id"] = access.access_key_id
        config["secret_access_key"] = access.secret_access_key
    client: ClientConfig = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": _REQUEST_TIMEOUT,
        "allow_http": (access.endpoint_url or "").startswith("http://"),
    }
    retry: RetryConfig = {
        "max_retries": _RETRIES,
        "retry_timeout": _REQUEST_TIMEOUT,
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
    }
    return S3Store(name, prefix=prefix or None, config=config, client_options=client, retry_config=retry)


def code(error: Exception) -> str | None:
    """The S3 error code in an error of obstore's, which shows it in its text alone; ``None`` when there is none."""
    found = _CODE.search(str(error))
    return found.group(1) if found else None
