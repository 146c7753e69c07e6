"""A prefix in an object store as a place where an output grows: create-if-absent by a conditional PUT."""

import os
import time
from pathlib import Path
from typing import Any, BinaryIO

from sentiment_batch.errors import EnvironmentFailure, InputError
from sentiment_batch.remote import open_bucket, open_remote, remote_errors

_PAUSES = (0, 0.1, 0.4, 1.6)  # seconds, before each try to create what is said to be there and is not


class Bucket:
    """`s3://bucket/prefix`, or `gs://` or `az://`. What a PUT has answered for is durable and seen by all."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self._store, self._prefix = open_bucket(self.url)

    def create(self, name: str, scratch: Path) -> bool:
        try:
            for pause in _PAUSES:
                time.sleep(pause)
                if self._put(name, scratch):
                    return True
                if self._is_there(name):
                    return False
            raise EnvironmentFailure(
                f"{self.url}/{name}: the store refuses to create it, as if it was there; run again"
            )
        finally:
            os.unlink(scratch)

    def replace(self, name: str, scratch: Path) -> None:
        import obstore

        try:
            with remote_errors(f"{self.url}/{name}"), open(scratch, "rb") as file:
                obstore.put(self._store, self._key(name), file, use_multipart=False)
        finally:
            os.unlink(scratch)

    def _put(self, name: str, scratch: Path) -> bool:
        """False if it was refused: something is there (412), or about to be (409); obstore says "exists" to both."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        def put() -> None:
            with remote_errors(f"{self.url}/{name}", AlreadyExistsError), open(scratch, "rb") as file:
                obstore.put(self._store, self._key(name), file, mode="create", use_multipart=False)

        try:
            try:
                put()
            except EnvironmentFailure:  # no answer: if it was carried out all the same, the second finds its object
                put()
            return True
        except AlreadyExistsError:
            return False

    def _is_there(self, name: str) -> bool:
        import obstore

        with remote_errors(f"{self.url}/{name}"):
            try:
                obstore.head(self._store, self._key(name))
            except FileNotFoundError:
                return False
        return True

    def sizes(self) -> dict[str, int]:
        import obstore

        with remote_errors(self.url):
            found = [meta for page in obstore.list(self._store, prefix=self._key("")) for meta in page]
        start = len(self._key(""))
        return {meta["path"][start:]: meta["size"] for meta in sorted(found, key=lambda each: str(each["path"]))}

    def read(self, name: str, start: int = 0) -> bytes | None:
        import obstore

        options: Any = {"range": {"offset": start}} if start else {}
        with remote_errors(f"{self.url}/{name}"):
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

        with remote_errors(f"{self.url}/{name}"):
            try:
                obstore.delete(self._store, self._key(name))
            except FileNotFoundError:
                return

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name
