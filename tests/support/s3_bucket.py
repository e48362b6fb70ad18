"""One bucket of a real S3 server, and how to make it: obstore makes no buckets, so one signed PUT is written out here.

The signature (AWS version 4, path style, empty body) is thirty lines; a client library that signs would be 15 MB of
development dependency for this one request.
"""

import hashlib
import hmac
import http.client
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Bucket:
    """All that a client needs to use one bucket."""

    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    bucket: str

    def url(self, prefix: str = "") -> str:
        """Return the address for `TORII_ARCHIVE_URL`."""
        return f"s3://{self.bucket}/{prefix}".rstrip("/")

    def environment(self) -> dict[str, str]:
        """Return the variables that a process needs beside `TORII_ARCHIVE_URL`."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    def create(self) -> None:
        """Make the bucket on its server."""
        status, answer = self.request("PUT")
        if status != 200:
            raise AssertionError(f"the S3 server refused to make a bucket: {status} {answer}")

    def request(self, method: str, key: str = "") -> tuple[int, str]:
        """Send a signed request without a body for the bucket, or for a plainly named object of it."""
        host = urlsplit(self.endpoint_url).netloc
        path = f"/{self.bucket}/{key}" if key else f"/{self.bucket}"
        connection = http.client.HTTPConnection(host, timeout=30)
        try:
            connection.request(method, path, headers=self._signed(method, host, path, datetime.now(UTC)))
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def _signed(self, method: str, host: str, path: str, now: datetime) -> dict[str, str]:
        """Return the headers of a request, signed."""
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        headers = {"host": host, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": stamp}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = f"{method}\n{path}\n\n{lines}\n{names}\n{EMPTY_SHA256}"
        scope = f"{day}/{self.region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self.secret_access_key}".encode()
        for part in (*scope.split("/"), to_sign):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        credential = f"Credential={self.access_key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
