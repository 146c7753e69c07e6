"""A prefix in an object store as a place where an output grows: create-if-absent and swap are conditional PUTs."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from sentiment_batch.errors import EnvironmentFailure, InputError, UsageError
from sentiment_batch.remote import open_bucket, open_remote, remote_errors
from sentiment_batch.write.store import Version

_PAUSES = (0, 0.1, 0.4, 1.6)  # seconds, before each try to create what is said to be there and is not


class Bucket:
    """`s3://bucket/prefix`, or `gs://` or `az://`. What a PUT has answered for is durable and seen by all."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._store, self._prefix = open_bucket(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self.url,)  # credentials are in the environment, of a worker, too

    def create(self, name: str, scratch: Path) -> bool:
        for pause in _PAUSES:
            time.sleep(pause)
            if self._put(name, scratch, "create"):
                return True
            if self.version(name) is not None:
                return False
        raise EnvironmentFailure(f"{self.url}/{name}: the store refuses to create it, as if it was there; run again")

    def swap(self, name: str, scratch: Path, version: Version) -> bool:
        e_tag, generation = version
        known = {"e_tag": e_tag, "version": generation}
        return self._put(name, scratch, {key: value for key, value in known.items() if value is not None})

    def _put(self, name: str, scratch: Path, mode: Any) -> bool:
        """False if it was refused: what is there is not what `mode` asks for (412), or about to change (409).

        Also if it was carried out and its answer got lost: the second request finds what the first one made.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def put() -> None:
            refusals = (AlreadyExistsError, PreconditionError)
            with open(scratch, "rb") as file, self._errors(name, *refusals):
                obstore.put(self._store, self._key(name), file, mode=mode, use_multipart=False)

        try:
            try:
                put()
            except EnvironmentFailure:
                put()
        except (AlreadyExistsError, PreconditionError):
            return False
        os.unlink(scratch)
        return True

    def version(self, name: str) -> Version | None:
        import obstore

        with self._errors(name):
            try:
                meta = obstore.head(self._store, self._key(name))
            except FileNotFoundError:
                return None
        return meta["e_tag"], meta["version"]

    def sizes(self) -> dict[str, int]:
        import obstore

        with self._errors(""):
            found = [meta for page in obstore.list(self._store, prefix=self._key("")) for meta in page]
        start = len(self._key(""))
        sizes = {meta["path"][start:]: meta["size"] for meta in sorted(found, key=lambda each: str(each["path"]))}
        folders = {"", *(str(parent) for name in sizes for parent in PurePosixPath(name).parents)}
        return {name: size for name, size in sizes.items() if size or name not in folders}  # a console makes "folders"

    def read(self, name: str, start: int = 0) -> bytes | None:
        import obstore

        options: Any = {"range": {"offset": start}} if start else {}
        with self._errors(name):
            try:
                return bytes(obstore.get(self._store, self._key(name), options=options).bytes())
            except FileNotFoundError:
                return None

    def open(self, name: str) -> BinaryIO:
        try:
            return open_remote(f"{self.url}/{name}")
        except InputError as error:
            raise FileNotFoundError(str(error)) from None

    def delete(self, name: str) -> None:
        import obstore

        with self._errors(name):
            try:
                obstore.delete(self._store, self._key(name))
            except FileNotFoundError:
                return

    @contextmanager
    def _errors(self, name: str, *decided: type[Exception]) -> Iterator[None]:
        """As `remote_errors`; what is not there, where that is no answer, can only be the bucket."""
        url = f"{self.url}/{name}".rstrip("/")
        try:
            with remote_errors(url, *decided):
                yield
        except InputError:
            raise UsageError(f"{url}: there is no such bucket; make it, or name the output otherwise") from None

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name
