"""Pictures to start from: brought, read, listed, deleted; their bytes by signed links. The house decides."""

import re
from typing import Any, Final

import structlog
from litestar import Request, Response, delete, post, route
from litestar.response import Stream

from gateway import errors
from gateway.admission import rate
from gateway.admission.rate import Counted
from gateway.archive import links
from gateway.bootstrap import House
from gateway.jobs import intake, uploads
from gateway.jobs.intake import MAX_BYTES, Taken
from gateway.jobs.uploads import Upload
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope
from service import answers, bodies, callers, forms, freshness, front, query

log = structlog.get_logger(__name__)

_BODY_MAX: Final = MAX_BYTES + forms.OVERHEAD_BYTES
_UPLOAD_ID: Final = re.compile(r"upload_[0-9A-Za-z]{1,33}", re.ASCII)
_JSON: Final = "application/json"
_URL: Final = "url"
#: What failed through no fault of the caller's; it is not counted.
_OURS: Final = (errors.Unavailable, errors.ArchiveUnavailable, errors.StoreUnavailable)
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
    asker = await callers.recognised(request, Scope.GENERATE)
    # Before the body: it is what costs.
    standing = await house.gate.rate.take(asker, Counted.UPLOADS)
    rate.require(standing)
    try:
        taken = await _taken(request, house, asker.key)
    except _OURS:
        await house.gate.rate.give_back(asker, Counted.UPLOADS)
        raise
    now, frame = house.clock.now(), house.frame
    headers = {"Location": f"{frame.public_url}/api/v1/uploads/{taken.upload.id}"}
    if taken.replayed:
        await house.gate.rate.give_back(asker, Counted.UPLOADS)
        headers["Idempotent-Replayed"] = "true"
    else:
        headers |= callers.rate_headers(standing)
    return answers.json(uploads.render(taken.upload, frame, now), 201, headers)


@route("/api/v1/uploads", http_method=["GET", "HEAD"], name="listUploads")
async def listing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Newest first: with ``read`` the team's, with ``generate`` those of the key."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    asked, now = query.asked(request).slice, house.clock.now()
    async with house.database.read() as connection:
        found, cursor = await uploads.page(connection, key.team_id, query.owner(key, Scope.READ), asked, now)
    told = [uploads.render(upload, house.frame, now) for upload in found]
    return answers.json({"uploads": told, "nextCursor": cursor})


@route("/api/v1/uploads/{uploadId:str}", http_method=["GET", "HEAD"], name="getUpload")
async def read(request: Request[Any, Any, Any]) -> Response[bytes]:
    """One upload, with a fresh link."""
    house = front.of(request).house
    key = await callers.known(request, Scope.READ, Scope.GENERATE)
    now = house.clock.now()
    async with house.database.read() as connection:
        upload = await uploads.find(connection, key.team_id, _named(request), now, query.owner(key, Scope.READ))
    headers = {"Cache-Control": "private, no-cache"}
    return answers.json(uploads.render(upload, house.frame, now), headers=headers)


@delete("/api/v1/uploads/{uploadId:str}", name="deleteUpload", status_code=204)
async def erase(request: Request[Any, Any, Any]) -> None:
    """Let an upload go: with ``generate`` one that the key brought, with ``manage`` any of the team's."""
    house = front.of(request).house
    key = await callers.known(request, Scope.GENERATE, Scope.MANAGE)
    now = house.clock.now()
    async with house.database.write() as tx:
        upload = await uploads.find(tx, key.team_id, _named(request), now, query.owner(key, Scope.MANAGE))
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
    with house.intake.seats.body(key.team_id) as came:
        body = await bodies.read(request, _BODY_MAX, came)
        async with house.intake.seats.seat(key.team_id):
            return await _from_body(request, house, key, body, idempotency_key)


async def _from_body(
    request: Request[Any, Any, Any], house: House, key: Key, data: bytes, idempotency_key: str | None
) -> Taken:
    field = _BODY
    if forms.media_type(request) == forms.MEDIA_TYPE:
        field, data = forms.FIELD, await forms.file(request.headers.get("content-type", ""), data)
    if len(data) > MAX_BYTES:
        raise errors.BodyTooLarge(f"The picture is larger than {MAX_BYTES} bytes.")
    asked = None if idempotency_key is None else await intake.ticket(idempotency_key, data)
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
    asked = None if idempotency_key is None else await intake.ticket(idempotency_key, body)
    if asked is not None and (earlier := await house.intake.replayed(key.team_id, asked)):
        return earlier
    with house.intake.seats.fetch(key.team_id):
        data = await house.intake.fetch(body[_URL])
        async with house.intake.seats.seat(key.team_id):
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


def _named(request: Request[Any, Any, Any]) -> str:
    return query.named(request, "uploadId", _UPLOAD_ID, errors.UploadNotFound)
