"""Pictures to start from: brought, read, listed, deleted; their bytes by signed links. The house decides."""

import re
from typing import Any, Final

import structlog
from litestar import Request, Response, delete, post, route
from litestar.response import Stream

from gateway import errors
from gateway.archive import links
from gateway.bootstrap import House
from gateway.jobs import intake, uploads
from gateway.jobs.intake import MAX_BYTES, Taken
from gateway.jobs.uploads import Upload
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope
from service import answers, bodies, callers, forms, freshness, front
from service.admin_deeds import Ask

log = structlog.get_logger(__name__)

_BODY_MAX: Final = MAX_BYTES + forms.OVERHEAD_BYTES
_UPLOAD_ID: Final = re.compile(r"upload_[0-9A-Za-z]{1,33}", re.ASCII)
_PAGE: Final = frozenset({"limit", "cursor"})
_JSON: Final = "application/json"
_URL: Final = "url"
#: The field that a refusal names where the body is the picture itself.
_BODY: Final = "body"
_TAKEN: Final = (
    f"Send {forms.MEDIA_TYPE} with a field {forms.FIELD}, the picture itself as {', '.join(intake.TYPES)}, "
    f'or {_JSON} such as {{"url": "https://…"}}.'
)


@post("/api/v1/uploads", name="createUpload", status_code=201, request_max_body_size=_BODY_MAX)
async def create(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Keep a picture to start from: a file of a form, the body itself, or what a URL leads to."""
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE)
    with house.intake.seat(key.team_id):
        taken = await _taken(request, house, key)
    now, frame = house.clock.now(), house.frame
    headers = {"Location": f"{frame.public_url}/api/v1/uploads/{taken.upload.id}"}
    if taken.replayed:
        headers["Idempotent-Replayed"] = "true"
    return answers.json(uploads.render(taken.upload, frame, now), 201, headers)


@route("/api/v1/uploads", http_method=["GET", "HEAD"], name="listUploads")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first: with ``read`` the team's, with ``generate`` those of the key."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    asked, now = _asked(request).slice, house.clock.now()
    async with house.database.read() as connection:
        found, cursor = await uploads.page(connection, key.team_id, _only(key, Scope.READ), asked, now)
    told = [uploads.render(upload, house.frame, now) for upload in found]
    return answers.json({"uploads": told, "nextCursor": cursor})


@route("/api/v1/uploads/{uploadId:str}", http_method=["GET", "HEAD"], name="getUpload")
async def read(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One upload, with a fresh link."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    now = house.clock.now()
    async with house.database.read() as connection:
        upload = await uploads.find(connection, key.team_id, _named(request), now, _only(key, Scope.READ))
    headers = {"Cache-Control": "private, no-cache"}
    return answers.json(uploads.render(upload, house.frame, now), headers=headers)


@delete("/api/v1/uploads/{uploadId:str}", name="deleteUpload", status_code=204)
async def erase(request: Request[Any, Any, Any]) -> None:
    """Let an upload go: with ``generate`` one that the key brought, with ``manage`` any of the team's."""
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE, Scope.MANAGE)
    now = house.clock.now()
    async with house.database.write() as tx:
        upload = await uploads.find(tx, key.team_id, _named(request), now, _only(key, Scope.MANAGE))
        await uploads.delete(tx, f"key {key.id}", upload, now)


@route("/uploads/{name:str}", http_method=["GET", "HEAD"], name="getUploadFile")
async def file(request: Request[Any, Any, Any]) -> Response[Any]:
    """The bytes, always from here: whoever fetches them for the upstream may follow no redirect."""
    house = front.of(request).house
    upload_id, _, extension = request.path_params["name"].rpartition(".")
    expiry, signature = (request.query_params.get(name, "") for name in ("exp", "sig"))
    now = house.clock.now()
    links.verify(house.keys.image_links, upload_id, extension, expiry, signature, now, folder=links.UPLOADS)
    async with house.database.read() as connection:
        upload = await uploads.any_team(connection, upload_id)
    headers = _headers(upload, max_age_s=int(expiry) - int(now.timestamp()))
    if freshness.has_it(request.headers, headers["ETag"]):
        return Response(b"", status_code=304, headers=headers)
    if request.method == "HEAD":
        headers |= {"Content-Length": str(upload.size_bytes)}
        return Response(b"", status_code=200, media_type=upload.content_type, headers=headers)
    try:
        size_bytes, pieces = await house.bucket.stream(upload.object_key)
    except errors.ImageNotFound:
        log.error("upload_missing_in_archive", upload_id=upload.id, object_key=upload.object_key)  # noqa: TRY400
        raise errors.UploadNotFound from None
    headers["Content-Length"] = str(size_bytes)
    return Stream(pieces, media_type=upload.content_type, headers=headers)


async def _taken(request: Request[Any, Any, Any], house: House, key: Key) -> Taken:
    idempotency_key = request.headers.get("idempotency-key")
    kind = forms.media_type(request)
    if kind == _JSON:
        return await _from_url(request, house, key, idempotency_key)
    if kind != forms.MEDIA_TYPE and kind not in intake.TYPES:
        raise errors.UnsupportedMediaType(_TAKEN)
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise errors.UnsupportedMediaType("The body must be sent without a content encoding.")
    field, data = _BODY, await bodies.read(request, _BODY_MAX)
    if kind == forms.MEDIA_TYPE:
        field, data = forms.FIELD, await forms.file(request.headers.get("content-type", ""), data)
    if len(data) > MAX_BYTES:
        raise errors.BodyTooLarge(f"The picture is larger than {MAX_BYTES} bytes.")
    asked = None if idempotency_key is None else intake.ticket(idempotency_key, data)
    if asked is not None and (earlier := await house.intake.replayed(key.team_id, asked)):
        return earlier
    return await house.intake.take(callers.caller(key), data, field, asked)


async def _from_url(request: Request[Any, Any, Any], house: House, key: Key, idempotency_key: str | None) -> Taken:
    body = await bodies.json_object(request)
    for name in body:
        if name != _URL:
            raise errors.UnknownParameter(f"{name[:40]}: not known; an upload takes {_URL}", param=name[:40])
    if _URL not in body:
        raise errors.MissingParameter(f"{_URL} is required", param=_URL)
    asked = None if idempotency_key is None else intake.ticket(idempotency_key, body)
    if asked is not None and (earlier := await house.intake.replayed(key.team_id, asked)):
        return earlier
    data = await house.intake.fetch(body[_URL])
    return await house.intake.take(callers.caller(key), data, _URL, asked)


def _headers(upload: Upload, max_age_s: int) -> dict[str, str]:
    return {
        "ETag": f'"{upload.sha256}"',
        "Cache-Control": f"private, max-age={max_age_s}",
        "Content-Disposition": f'inline; filename="{upload.id}.{upload.extension}"',
        "Accept-Ranges": "none",
        # Somebody else's bytes on our origin: nothing in them may run, whatever a browser takes them for.
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _only(key: Key, whole_team: Scope) -> str | None:
    """Whose uploads alone it is about; none for those of the whole team."""
    return None if whole_team in key.scopes else key.id


def _named(request: Request[Any, Any, Any]) -> str:
    upload_id: str = request.path_params["uploadId"]
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise errors.UploadNotFound(param="uploadId")
    return upload_id


def _asked(request: Request[Any, Any, Any]) -> Ask:
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name not in _PAGE:
            raise errors.UnknownParameter(f"there is no query parameter {name[:40]!r} here", param=name[:40])
        if name in found:
            raise errors.InvalidParameter(f"{name} may be given once", param=name)
        found[name] = text
    return Ask({}, found, {})
