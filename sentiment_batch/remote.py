"""URLs of object stores (s3://, gs://, az://), through obstore, which is loaded when the first of them is met.

Credentials and endpoints come from the environment, under the names that every tool of the store knows
(AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME, ...), never from
files of the user's home. An endpoint without TLS is refused unless AWS_ALLOW_HTTP=true says that it may be.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, BinaryIO, cast

from sentiment_batch.errors import AccessRefused, EnvironmentFailure, InputError, SentimentBatchError, UsageError

_AHEAD_BYTES = 2**20
SCHEMES = ("s3", "gs", "az")
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
_CREDENTIALS = {  # what is looked at in the environment, by the scheme
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_REGION, not at ~/.aws",
    "gs": "GOOGLE_SERVICE_ACCOUNT and GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and the like",
}
_METADATA = re.compile(  # where a machine in the cloud asks who it is
    r"Error performing [A-Z]+ https?://[^\s/]+/(?:latest/(?:api/token|meta-data)|computeMetadata|metadata/identity)"
)

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


def real_paths(paths: Iterable[str]) -> Iterator[str]:
    """Each path with its links followed; a URL as it is. Thousands of files in few folders cost a look at each."""
    real = cache(os.path.realpath)
    for path in paths:
        if is_url(path):
            yield path
        elif os.path.islink(path):
            yield real(path)
        else:
            folder, name = os.path.split(path)
            yield os.path.join(real(folder), name)


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
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise UsageError(f"{root} needs the extra s3: pip install 'sentiment-batch[s3]'") from None
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes")
    for name in _ENDPOINTS:
        endpoint = os.environ.get(name, "")
        if endpoint and not re.match(r"https?://[^\s/]", endpoint, re.IGNORECASE):
            raise UsageError(f"{name} is no URL; give it as https://host or https://host:port")
        if endpoint.lower().startswith("http:") and not plain:
            raise UsageError(
                f"{name} is an endpoint without TLS: reviews and credentials would go over the network as they are; "
                "set AWS_ALLOW_HTTP=true if they may"
            )
    settings: dict[str, Any] = {"retry_config": RETRY, "client_options": {**CLIENT, "allow_http": plain}}
    try:
        return from_url(root, **settings)  # which asks nobody: all that can be wrong is in the environment
    except (OSError, ValueError, BaseError) as error:
        why = re.sub(r'"[^"]*"', '"..."', str(error).partition("\n")[0])
        raise UsageError(f"{root}: {why}; looked at: {_looked_at(root)}") from None


class RemoteFile(io.RawIOBase):
    """An object as a file to read from, at any place in it; each read is a request.

    Every request asks for the version of the object that was there first, or for the one with `etag`. Raises
    `InputError` if there is none, and what `changed` makes once it is another. If the `size` of the one with `etag` is
    known, the first request is the first read.
    """

    def __init__(self, url: str, etag: str | None = None, size: int | None = None):
        import obstore

        self.url = url
        self._store, self._key = open_bucket(url)
        self._position = 0
        self.etag = etag
        if etag and size is not None:
            self.size = size
            return
        with remote_errors(url):
            meta = obstore.head(self._store, self._key)
        self.size = int(meta["size"])
        self.etag = etag or meta["e_tag"]

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
    """Turn what obstore raises into our errors: what is not there is `InputError`, a store that lets nobody in with
    these credentials `AccessRefused`, the rest is worth a retry.

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
        raise _failure(url, error) from None


def _failure(url: str, error: Exception) -> SentimentBatchError:
    text = str(error)
    server = _server(text)
    at = f" at {server}" if server else ""
    statuses = re.findall(r"status code: (\d{3} [A-Za-z ]{1,40})", text)
    codes = re.findall(r"<Code>(\w{1,60})</Code>", text)
    said = ", ".join(dict.fromkeys([type(error).__name__, *codes, *statuses]))
    if _METADATA.search(text):
        return AccessRefused(
            f"{url}: no credentials: none in the environment, and the metadata service{at} of a machine in the cloud "
            f"gave none ({said}); looked at: {_looked_at(url)}"
        )
    if any(status.startswith("404") for status in statuses):
        return InputError(f"{url}: no such bucket{at} ({said}); make it, or mend the URL or the endpoint")
    if "incorrectly configured region" in text:
        return AccessRefused(f"{url}: the bucket is not in this region, says the store{at}; set AWS_REGION to its own")
    if any(status.startswith(("401", "403")) for status in statuses) and not _may_be_over(codes):
        return AccessRefused(
            f"{url}: the store{at} refuses access ({said}); mend the credentials or their rights, or the URL; "
            f"looked at: {_looked_at(url)}"
        )
    if not statuses and "HTTP error" in text:
        return EnvironmentFailure(f"{url}: no answer from the store{at} ({said}); is it the right endpoint? run again")
    return EnvironmentFailure(f"{url}: the store{at} failed ({said}); run again to go on")


def _may_be_over(codes: list[str]) -> bool:
    """Whether new credentials, or the right time, may open what is refused now. The answer to a HEAD has no code."""
    if not codes:
        return "AWS_SESSION_TOKEN" in os.environ
    return any("Expired" in code or code in ("TokenRefreshRequired", "RequestTimeTooSkewed") for code in codes)


def _server(text: str) -> str:
    """The scheme, host and port that was asked, without the credentials that an endpoint may have."""
    found = re.search(r"Error performing [A-Z]+ (https?://)([^\s/?]+)", text)
    return found[1] + found[2].rpartition("@")[2] if found else ""


def _looked_at(url: str) -> str:
    return _CREDENTIALS[url.partition("://")[0]]
