"""URLs of object stores -> obstore's stores, and its errors -> ours."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError

from sentiment_batch import remote
from sentiment_batch.errors import AccessRefused, EnvironmentFailure, InputError, SentimentBatchError, UsageError
from sentiment_batch.read.objects import find_objects
from sentiment_batch.write.bucket import Bucket

Refusal = Callable[[int, str], None]


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Static keys, and stores that are opened anew and tried again once."""
    for name in ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-key")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setattr(remote, "RETRY", {**remote.RETRY, "max_retries": 1})
    remote._bucket.cache_clear()
    yield monkeypatch
    remote._bucket.cache_clear()


@pytest.fixture
def refusing(own_environment: pytest.MonkeyPatch) -> Iterator[Refusal]:
    """A store that gives one answer to every request; `refusing(403, "AccessDenied")` says which."""
    answer: list[tuple[int, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, code = answer[-1]
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = _any  # noqa: N815 - http.server calls them so

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    own_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield lambda status, code: answer.append((status, code))
    server.shutdown()
    server.server_close()
    thread.join()


def ends_with(action: Callable[[], object]) -> SentimentBatchError:
    with pytest.raises(SentimentBatchError) as ended:
        action()
    assert "the-secret-of-the-key" not in str(ended.value)
    return ended.value


def actions(tmp_path: Path) -> list[Callable[[], object]]:
    """A HEAD, whose answer has no body, a GET, a listing and a PUT."""
    scratch = tmp_path / "scratch"
    scratch.write_text("{}")
    return [
        lambda: Bucket("s3://b/out").version("x"),
        lambda: Bucket("s3://b/out").read("x"),
        lambda: find_objects("s3://b/prefix/"),
        lambda: Bucket("s3://b/out").create(".claim.json", scratch),
    ]


def test_access_that_is_refused_is_no_matter_of_trying_again(refusing: Refusal, tmp_path: Path) -> None:
    refusing(403, "AccessDenied")
    for action in actions(tmp_path):
        ended = ends_with(action)
        assert ended.exit_code == 2
        assert isinstance(ended, EnvironmentFailure), "what is held back behind a failure is held back behind this one"
        assert re.search(
            r"s3://b/\S+: the store at http://127\S+ refuses .*AWS_ACCESS_KEY_ID.*not at ~/\.aws", str(ended)
        )
        assert "run again" not in str(ended)


def test_access_that_new_credentials_may_get_is_worth_a_retry(
    refusing: Refusal, own_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing(403, "ExpiredToken")
    own_environment.setenv("AWS_SESSION_TOKEN", "temporary")
    for action in actions(tmp_path):
        assert ends_with(action).exit_code == 7
    refusing(403, "AccessDenied")
    assert [ends_with(action).exit_code for action in actions(tmp_path)] == [7, 2, 2, 2], "a HEAD is told no code"


def test_a_bucket_that_is_not_there(refusing: Refusal, tmp_path: Path) -> None:
    """Of an input it is bad input; of an output the command is wrong."""
    refusing(404, "NoSuchBucket")
    _, _, listing, put = actions(tmp_path)
    ended = ends_with(listing)
    assert ended.exit_code == 3
    assert re.search(r"s3://b/prefix/: no such bucket at http://127\S+ .*make it", str(ended))
    for action in (put, Bucket("s3://b/out").sizes):
        ended = ends_with(action)
        assert ended.exit_code == 2
        assert re.search(r"s3://b/out\S*: there is no such bucket; make it", str(ended))


def test_a_bucket_of_another_region(refusing: Refusal, tmp_path: Path) -> None:
    refusing(301, "PermanentRedirect")
    for action in actions(tmp_path):
        ended = ends_with(action)
        assert ended.exit_code == 2
        assert "AWS_REGION" in str(ended)


def test_an_endpoint_that_does_not_answer_is_named_without_what_is_secret_in_it(
    own_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own_environment.setenv("AWS_ENDPOINT_URL", "http://user:the-secret-of-the-key@127.0.0.1:9")
    for action in actions(tmp_path):
        ended = ends_with(action)
        assert ended.exit_code == 7
        assert "no answer from the store at http://127.0.0.1:9 (" in str(ended)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "not a url", "s3.example.org", "http://"])
def test_an_endpoint_that_is_no_url(own_environment: pytest.MonkeyPatch, endpoint: str) -> None:
    """The library would panic."""
    own_environment.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UsageError, match=r"AWS_ENDPOINT_URL is no URL; give it as https://host"):
        remote.open_bucket("s3://b/x")


def test_no_credentials(own_environment: pytest.MonkeyPatch) -> None:
    own_environment.delenv("AWS_ACCESS_KEY_ID")
    own_environment.delenv("AWS_SECRET_ACCESS_KEY")
    own_environment.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    own_environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    ended = ends_with(lambda: find_objects("s3://b/x"))
    assert isinstance(ended, AccessRefused)
    assert re.search(r"no credentials.*metadata service at http://127.0.0.1:9 .*AWS_ACCESS_KEY_ID", str(ended))


def test_half_of_the_credentials(own_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_environment.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UsageError, match=r"s3://b: .*Missing SecretAccessKey; looked at: AWS_ACCESS_KEY_ID"):
        remote.open_bucket("s3://b/x")
    (tmp_path / "key.json").write_text('"the-secret-of-the-key"')
    own_environment.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    assert "GOOGLE_SERVICE_ACCOUNT" in str(ends_with(lambda: remote.open_bucket("gs://b/x")))


def test_a_url_is_a_bucket_and_a_key(bucket: str) -> None:
    import obstore

    store, key = remote.open_bucket(f"{bucket}/a b/ü.txt")
    obstore.put(store, key, b"hello", mode="create")
    assert bytes(obstore.get(store, key).bytes()) == b"hello"
    with pytest.raises(AlreadyExistsError), remote.remote_errors(bucket, AlreadyExistsError):
        obstore.put(store, key, b"again", mode="create")
    with pytest.raises(EnvironmentFailure, match="AlreadyExists"), remote.remote_errors(bucket):
        obstore.put(store, key, b"again", mode="create")


@pytest.mark.parametrize("url", ["ftp://host/x", "http://host/x", "s3://", "s3:///key", "://x"])
def test_other_stores_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no such store"):
        remote.open_bucket(url)


def test_an_endpoint_without_tls_must_be_allowed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(UsageError, match=r"AWS_ENDPOINT_URL is an endpoint without TLS.*AWS_ALLOW_HTTP=true"):
        remote.open_bucket("s3://another-bucket/x")


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        remote.open_bucket("s3://key:secret@bucket/x")
    assert "secret" not in str(refused.value)


def test_what_is_not_there_is_bad_input(bucket: str) -> None:
    import obstore

    store, key = remote.open_bucket(bucket + "/nothing")
    with pytest.raises(InputError, match="nothing is not there"), remote.remote_errors(bucket + "/nothing"):
        obstore.get(store, key)


def test_of_a_failure_only_its_codes_are_told() -> None:
    answer = "status code: 403 Forbidden: <Error><Code>ExpiredToken</Code><Token-0>IQoJb3JpZ2luX2VjE</Token-0></Error>"
    with pytest.raises(EnvironmentFailure) as failed, remote.remote_errors("s3://bucket/x"):
        raise GenericError(answer)
    assert "403 Forbidden" in str(failed.value)
    assert "ExpiredToken" in str(failed.value)
    assert "IQoJ" not in str(failed.value)


def test_local_paths_are_no_urls(tmp_path: Path) -> None:
    assert not remote.is_url(str(tmp_path))
    assert remote.is_url("s3://bucket/x")


def test_what_lies_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    out = str(tmp_path / "out")
    for path in (out, f"{out}/", f"{out}/x", f"{tmp_path}/x/../out/x", f"{tmp_path}/link/x"):
        assert remote.lies_in(path, out), path
        assert remote.lies_in(path, f"{tmp_path}/link/"), path
    for path in (f"{out}put/x", f"{out}/../x", str(tmp_path), "s3://bucket/out/x"):
        assert not remote.lies_in(path, out), path
    assert remote.lies_in("s3://bucket/out/x", "s3://bucket/out/")
    assert not remote.lies_in("s3://bucket/output", "s3://bucket/out")


def test_an_object_reads_like_a_file(bucket: str) -> None:
    import obstore

    data = bytes(range(256)) * 20_000
    store, key = remote.open_bucket(f"{bucket}/x")
    obstore.put(store, key, data)
    with remote.open_remote(f"{bucket}/x") as file:
        assert file.read(3) == data[:3]
        assert file.seek(-5, 2) == len(data) - 5
        assert file.read() == data[-5:]
        assert file.read() == b""
        file.seek(1_000_000)
        assert file.read(2_000_000) == data[1_000_000:3_000_000]
        assert file.tell() == 3_000_000


def test_an_object_that_is_replaced_while_it_is_read_is_told(bucket: str) -> None:
    import obstore

    store, key = remote.open_bucket(f"{bucket}/x")
    obstore.put(store, key, b"a" * 3_000_000)
    with remote.open_remote(f"{bucket}/x") as file:
        file.read(10)
        obstore.put(store, key, b"b" * 3_000_000)
        file.seek(2_500_000)
        with pytest.raises(EnvironmentFailure, match="changed while it was read"):
            file.read(10)
