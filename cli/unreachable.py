"""Why a gateway cannot be reached, in words. Asks nobody."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import httpx


def why(error: Exception) -> str:
    """The innermost reason why a gateway cannot be reached."""
    if isinstance(error, httpx.ConnectTimeout):
        return "it does not answer"
    if isinstance(error, httpx.TimeoutException):
        return "it took too long to answer"
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {cause.verify_message}"
            case ssl.SSLError():
                return f"TLS failed: {getattr(cause, 'reason', None) or cause.strerror}"
            case socket.gaierror():
                return f"there is no such host ({cause.strerror})"
            case OSError() if cause.errno in errno.errorcode:
                # The event loop puts addresses into its texts; the system's own are shorter.
                return os.strerror(cause.errno or 0).lower()
    return " ".join(str(error).split())[:200] or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is behind it, the innermost first."""
    if error is None:
        return
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    yield from _causes(error.__cause__ or error.__context__)
    yield error
