"""Secrets that lie all around a job are in nothing that it says or writes, however it ends.

As a script it is the program with the stub, in which libraries speak of secrets and, with `fails`, one raises an error
full of them: `python test_secrets.py SENTENCES goes-on|fails score ...`. With `real` there is no stub.
"""

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from faults.jobs import arguments, write_dump

# What libraries say, with the secret at {}: each in an error, in a warning and in a line of a logger.
SENTENCES = (
    "Retrying after connection broken: /k?X-Amz-Credential={}&X-Amz-Date=20261124",
    "GET https://b.s3.amazonaws.com/k?X-Amz-Signature={} 403",
    "'X-Amz-Security-Token': '{}'",
    "x-goog-signature={} is not valid",
    "https://account.blob.core.windows.net/c/k?sv=2024&sig={}",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={};",
    "SharedAccessSignature={}",
    "https://storage.googleapis.com/b/k?GoogleAccessId=a&Signature={}",
    "AWSAccessKeyId={}&Expires=1",
    "Authorization: Bearer {}",
    "{{'Authorization': 'AWS4-HMAC-SHA256 Credential={}'}}",
    "Proxy-Authorization: Basic {}",
    "the header was bearer {}",
    "https://etl:{}@example.org/reviews.tsv cannot be opened",
    "postgresql://etl:{}@database/reviews",
    "redis://:{}@cache:6379",
    "<Error><Token-0>{}</Token-0></Error>",
    "<SecretAccessKey>{}</SecretAccessKey>",
    "login with password={} failed",
    "api_key={}",
    "apikey={}",
    "client_secret={}",
    "access_token={}&refresh=1",
    "refresh_token={}",
    "no access to the repository with hf_{}",
    "key AKIA{} is unknown",
    "key ASIA{} is unknown",
    "the token eyJ{}.payload0123456.signature01 is too old",
    "the token ya29.{} is too old",
)
VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_OAUTH_ACCESS_TOKEN",
    "DATABASE_PASSWORD",
    "OPENAI_API_KEY",
    "airflow_var_secret_of_the_team",
)
IN_THE_ENVIRONMENT = "what the store was given is {}"


def canary(number: int) -> str:
    """A secret that no other text has, and that a key of any kind may be."""
    return f"CANARY{number:02}7Q2W9X4ZR5T8"


CANARIES = {canary(number): sentence for number, sentence in enumerate(SENTENCES)}
ENVIRONMENT = {name: f"{canary(90 - number)}/+=" for number, name in enumerate(VARIABLES)}


@pytest.fixture(params=["text", "json"])
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(folder: Path, ending: str, format: str, *command: object) -> "subprocess.CompletedProcess[bytes]":
    """The command in a process whose environment and libraries are full of secrets."""
    said = [sentence.format(secret) for secret, sentence in CANARIES.items()]
    said += [IN_THE_ENVIRONMENT.format(form) for each in ENVIRONMENT.values() for form in (each, quote(each, safe=""))]
    (folder / "said.json").write_text(json.dumps(said))
    return subprocess.run(
        [sys.executable, __file__, folder / "said.json", ending, *map(str, command), "--log-format", format],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        capture_output=True,
        check=False,
        timeout=120,
    )


def check_nowhere(place: Path, ended: "subprocess.CompletedProcess[bytes]", *more: str) -> None:
    """Not in what it said, in no file and in no file's name."""
    everything = {"standard output": ended.stdout, "standard error": ended.stderr}
    for path in place.rglob("*"):
        everything[str(path)] = os.fsencode(path) + (path.read_bytes() if path.is_file() else b"")
    assert len(everything) > 2
    for secret in (*more, *CANARIES, *(each.removesuffix("/+=") for each in ENVIRONMENT.values())):
        found = [name for name, content in everything.items() if secret.encode() in content]
        assert not found, (secret, found)


def test_there_are_enough_of_them() -> None:
    assert len(CANARIES) + len(ENVIRONMENT) >= 30


@pytest.mark.parametrize("ending", ["goes-on", "fails"])
def test_a_job(ending: str, format: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    dump = write_dump(tmp_path / "dump.tsv", 60)
    job = (*arguments(dump, place / "out"), "--metrics", place / "metrics.json")
    ended = run(tmp_path, ending, format, *job)
    assert ended.returncode == (0 if ending == "goes-on" else 1), ended.stderr.decode()
    for words in ("Retrying after connection broken", "cannot be opened", "what the store was given is ***"):
        assert words in ended.stderr.decode(), "it was said, without the secret"
    assert ended.stderr.count(b"***") > len(CANARIES)
    check_nowhere(place, ended)
    if ending == "goes-on":
        check_nowhere(place, run(tmp_path, ending, format, "verify", place / "out"))


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:{}@bucket/reviews.tsv",
        "s3://{}@bucket/reviews.tsv",
        "https://bucket.s3.amazonaws.com/reviews.tsv?X-Amz-Signature={}",
        "https://account.blob.core.windows.net/c/reviews.tsv?sv=2024&sig={}",
        "reviews.tsv?X-Amz-Signature={}",
        "/data/reviews.tsv?access_token={}",
    ],
)
@pytest.mark.parametrize("whose", ["input", "output", "model"])
def test_a_url_with_a_secret(url: str, whose: str, tmp_path: Path) -> None:
    """Given by mistake, as it came from a browser."""
    place = tmp_path / "place"
    place.mkdir()
    given = url.format(secret := canary(99))
    given = given.replace("/data", str(tmp_path / "nowhere"))
    dump = write_dump(tmp_path / "dump.tsv", 60)
    command = {
        "input": arguments(Path(given) if "://" not in given else given, place / "out"),  # type: ignore[arg-type]
        "output": arguments(dump, given if "://" in given else f"{dump}/{given}"),
        "model": tuple(given if each == "stub" else each for each in arguments(dump, place / "out")),
    }[whose]
    ended = run(tmp_path, "real" if whose == "model" else "goes-on", "text", *command, "--metrics", place / "metrics")
    assert ended.returncode not in (0, 1), ended.stderr.decode()
    assert b"error: " in ended.stderr
    check_nowhere(place, ended, secret)


def speak(said: list[str], fails: bool) -> None:
    """The stub's model says it all, in every way that a library has, and then raises it."""
    from faults.stub import StubLabeller

    logits = StubLabeller.logits

    def spoken(*given: Any) -> Any:
        for sentence in said:
            logging.getLogger("urllib3.connectionpool").warning("Retrying: %s", sentence)
            logging.getLogger("sentiment_batch.read").info(sentence)
            warnings.warn(sentence, stacklevel=1)
            sys.stderr.flush()
        if fails:
            try:
                raise OSError("; ".join(said[: len(said) // 2]))
            except OSError as error:
                raise RuntimeError("\n".join(said)) from error
        return logits(*given)

    StubLabeller.logits = spoken  # type: ignore[method-assign]


if __name__ == "__main__":
    from faults import stub
    from sentiment_batch.cli import main

    if sys.argv[2] != "real":
        stub.install()
    speak(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2] == "fails")
    sys.argv = ["sentiment-batch", *sys.argv[3:]]
    main()
