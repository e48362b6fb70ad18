"""The shapes of uploads, as the OpenAPI document shows them. Describes; ``gateway.jobs.uploads`` builds them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Meta

from gateway.jobs import intake
from service.wire import At, Shape, Text

_URL: Final = "https://torii.example/uploads/upload_9sLw3Hd7Kq2Pz5Xc8Vb1Nm.png?exp=1764000000&sig=3q2-7w"
_BINARY: Final = MappingProxyType({"type": "string", "contentMediaType": "application/octet-stream"})


class UploadBody(Shape):
    """A picture to start from."""

    upload_id: Annotated[Text, Meta(description="Name it in an order.", examples=["upload_4fZk0Qm1Yx8Tb2Vn6Rc3Wd"])]
    url: Annotated[str, Meta(description="A signed link; works without a header until it ends.", examples=[_URL])]
    content_type: Annotated[str, Meta(examples=["image/png"])]
    width: Annotated[int, Meta(ge=1, description="Pixels.", examples=[1024])]
    height: Annotated[int, Meta(ge=1, description="Pixels.", examples=[1024])]
    bytes: Annotated[int, Meta(ge=1, examples=[1482133])]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="Of the file, in hexadecimal.")]
    created_at: At
    expires_at: Annotated[At, Meta(description="From then on no order may name it.")]


class UploadList(Shape):
    """A slice of the uploads, newest first."""

    uploads: list[UploadBody]
    next_cursor: Annotated[str | None, Meta(description="Give it as `cursor` for the next slice; null at the end.")]


class UploadFromUrl(Shape, forbid_unknown_fields=True):
    """Where a picture is that Torii is to fetch."""

    url: Annotated[Text, Meta(max_length=2083, description="An https URL.", examples=["https://example.com/cat.png"])]


#: The bodies that an upload may have beside that one, by media type.
FILES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "multipart/form-data": {
            "type": "object",
            "additionalProperties": False,
            "required": ["file"],
            "properties": {"file": {**_BINARY, "description": "A PNG, JPEG or WebP of at most 20 MiB."}},
        },
        **dict.fromkeys(intake.TYPES, _BINARY),
    }
)
