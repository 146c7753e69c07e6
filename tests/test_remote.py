"""URLs of object stores -> obstore's stores, and its errors -> ours."""

from pathlib import Path

import pytest
from obstore.exceptions import AlreadyExistsError, GenericError

from sentiment_batch import remote
from sentiment_batch.errors import EnvironmentFailure, InputError, UsageError


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
