"""URLs of object stores (s3://, gs://, az://), through obstore, which is loaded when the first of them is met.

Credentials and endpoints come from the environment, under the names that every tool of the store knows
(AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME, ...). An endpoint
without TLS is refused unless AWS_ALLOW_HTTP=true says that it may be.
"""

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, BinaryIO, cast

from sentiment_batch.errors import EnvironmentFailure, InputError, UsageError

_AHEAD_BYTES = 2**20
SCHEMES = ("s3", "gs", "az")
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")

# obstore tries again by itself after a dropped connection, a timeout, 429 and 5xx; then it is for the scheduler.
RETRY: dict[str, Any] = {
    "max_retries": 8,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
}
CLIENT: dict[str, Any] = {"timeout": timedelta(minutes=5), "connect_timeout": timedelta(seconds=10)}


def is_url(path: str) -> bool:
    """Whether the path names something in an object store (or in what we do not know: `open_bucket` says so)."""
    return "://" in path


def lies_in(path: str, folder: str) -> bool:
    """Whether the path is the folder, or below it, links followed; both may be URLs."""
    if is_url(path) or is_url(folder):
        return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([path, folder]) == folder


def split_url(url: str) -> tuple[str, str]:
    """("s3://bucket", "the/key"). Raises `UsageError` for a store that is not known and for a password in a URL."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in SCHEMES or not bucket:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        raise UsageError(f"{scheme}://...: no such store; known: local paths, {known} with a bucket")
    if "@" in bucket:
        raise UsageError(f"{scheme}://...@...: no credentials in a URL; give them in the environment")
    return f"{scheme}://{bucket}", key


def open_bucket(url: str) -> tuple[Any, str]:
    """(the obstore store of the URL's bucket, the key in it). Nothing is asked of the store yet.

    Raises `UsageError` for a URL or an endpoint that is refused, or without the extra.
    """
    root, key = split_url(url)
    return _bucket(root), key


@cache
def _bucket(root: str) -> Any:
    try:
        from obstore.store import from_url
    except ImportError:
        raise UsageError(f"{root} needs the extra s3: pip install 'sentiment-batch[s3]'") from None
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes")
    for name in _ENDPOINTS:
        if os.environ.get(name, "").lower().startswith("http:") and not plain:
            raise UsageError(
                f"{name} is an endpoint without TLS: reviews and credentials would go over the network as they are; "
                "set AWS_ALLOW_HTTP=true if they may"
            )
    with remote_errors(root):
        settings: dict[str, Any] = {"retry_config": RETRY, "client_options": {**CLIENT, "allow_http": plain}}
        return from_url(root, **settings)


class RemoteFile(io.RawIOBase):
    """An object as a file to read from, at any place in it; each read is a request.

    Every request asks for the version of the object that was there first, or for the one with `etag`. Raises
    `InputError` if there is none, and what `changed` makes once it is another.
    """

    def __init__(self, url: str, etag: str | None = None):
        import obstore

        self.url = url
        self._store, self._key = open_bucket(url)
        with remote_errors(url):
            meta = obstore.head(self._store, self._key)
        self.size = int(meta["size"])
        self.etag = etag or meta["e_tag"]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        import obstore
        from obstore.exceptions import PreconditionError

        stop = min(self.size, self._position + len(buffer))
        if stop <= self._position:
            return 0
        options: Any = {"range": (self._position, stop), "if_match": self.etag}
        try:
            with remote_errors(self.url, PreconditionError):
                data = obstore.get(self._store, self._key, options=options).bytes()
        except PreconditionError:
            raise self.changed() from None
        memoryview(buffer).cast("B")[: len(data)] = memoryview(data)
        self._position += len(data)
        return len(data)

    def changed(self) -> Exception:
        return ChangedMeanwhile(f"{self.url} changed while it was read; run again to go on")


def open_remote(url: str, etag: str | None = None) -> BinaryIO:
    """A `RemoteFile` that reads a mebibyte ahead."""
    return cast(BinaryIO, io.BufferedReader(RemoteFile(url, etag), _AHEAD_BYTES))


class ChangedMeanwhile(EnvironmentFailure):
    """What is read is another version than when it was opened."""


@contextmanager
def remote_errors(url: str, *decided: type[Exception]) -> Iterator[None]:
    """Turn what obstore raises into our errors: what is not there is `InputError`, the rest is worth a retry.

    What the caller decides on (`AlreadyExistsError`, `PreconditionError`) passes as it is. Of the store's answer only
    its code is told: an answer to an expired token has the token in it.
    """
    from obstore import exceptions

    try:
        yield
    except decided:
        raise
    except (FileNotFoundError, exceptions.NotFoundError):
        raise InputError(f"{url} is not there, or its bucket is not") from None
    except (OSError, exceptions.BaseError) as error:
        raise EnvironmentFailure(f"{url}: the store failed ({_code(error)}); run again to go on") from None


def _code(error: BaseException) -> str:
    text = str(error)
    found = [*re.findall(r"<Code>(\w{1,60})</Code>", text), *re.findall(r"status code: (\d{3} [A-Za-z ]{1,40})", text)]
    return ", ".join([type(error).__name__, *dict.fromkeys(found)])
