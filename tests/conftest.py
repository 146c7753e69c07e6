"""What the tests share: a model small enough to make on the spot, and the program run in this process."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run two at a time on small machines

import json
import random
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

    from sentiment_batch.write.store import Store

for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # a CI in the background may have us ignore them
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)

SMSA = Path(__file__).parents[2] / "shared" / "data" / "smsa"
SAMPLE = Path(__file__).parents[1] / "sentiment_batch" / "sample"

needs_smsa = pytest.mark.skipif(not SMSA.is_dir(), reason="the SmSA files are not beside this checkout")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long tier of tests/faults: hours, not minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(4 * 3600))


@pytest.fixture(scope="session")
def tier(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`tier(quick, long)`: how many cases this run is to try."""
    return lambda quick, long: long if request.config.getoption("--long") else quick


@dataclass(frozen=True)
class Outcome:
    """How a run of the program ended."""

    code: int
    out: str
    err: str


Program = Callable[..., Outcome]


SCHEMA = Path(__file__).parents[1] / "sentiment_batch" / "measure" / "metrics.schema.json"


def strict_json(text: str) -> Any:
    """The value of a JSON text, in which NaN and infinity, which Python takes, are no words."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def closed(schema: Any) -> Any:
    """The schema of a metrics JSON without the keys that it leaves to later versions: none but those it describes."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    conditions = ("allOf", "anyOf", "if", "then", "not")
    found = {key: each if key in conditions else closed(each) for key, each in schema.items()}
    if "properties" in schema and schema.get("type") and "additionalProperties" not in schema:
        found["additionalProperties"] = False
    return found


@cache
def metrics_schema() -> "Draft202012Validator":
    """What holds each metrics JSON that a test has the program write against the schema, closed."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(closed(json.loads(SCHEMA.read_text(encoding="utf-8"))))


def faults_of(metrics: Any) -> list[str]:
    """What a metrics JSON has that metrics.schema.json does not describe, or not so, and what it lacks."""
    return [f"{error.json_path}: {error.message[:300]}" for error in metrics_schema().iter_errors(metrics)]


def _version(path: Path) -> tuple[int, int] | None:
    found = path.stat() if path.is_file() else None
    return found and (found.st_ino, found.st_mtime_ns)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Program:
    """`program("score", ...)` runs the command line in this process; what it writes to --metrics fits the schema."""
    from sentiment_batch import cli, stop

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["sentiment-batch", *map(str, arguments)])
        monkeypatch.setattr(stop, "_noted", None)
        monkeypatch.setattr(stop, "install", lambda *_: None)
        capfd.readouterr()
        copy = Path(*arguments[arguments.index("--metrics") + 1 :][:1]) if "--metrics" in arguments else Path()
        before, code = _version(copy), 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        out, err = capfd.readouterr()
        if _version(copy) not in (before, None):
            assert not faults_of(strict_json(copy.read_text(encoding="utf-8")))
        return Outcome(code, out, err)

    return run


def sample_rows(split: str = "train") -> list[tuple[str, str]]:
    """(text, label) of the sample reviews."""
    lines = (SAMPLE / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return [(text, label) for text, _, label in (line.partition("\t") for line in lines)]


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Distinct texts of very different lengths, in no order."""
    words = sorted({word for text, _ in sample_rows() for word in text.split()})
    chance = random.Random(seed)
    texts: set[str] = set()
    while len(texts) < count:
        texts.add(" ".join(chance.choices(words, k=chance.choice([1, 2, 5, 12, 30, 60]))))
    return sorted(texts, key=lambda _: chance.random())


LABELS = ("positive", "neutral", "negative")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers x 32 with random weights, large enough that its labels differ from text to text."""
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("tiny_model")
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    save_random_model(folder, config)
    return folder


@pytest.fixture
def warm_model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model whose `training.json` has a temperature."""
    folder = tmp_path / "warm_model"
    shutil.copytree(tiny_model, folder)
    (folder / "training.json").write_text('{"temperature": 2.5}')
    return folder


@pytest.fixture(scope="session")
def optimized_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model with both graphs; `optimize` would keep int8 only where it happens to be faster."""
    import numpy as np

    from sentiment_batch.model.conversion import convert, quantise, save
    from sentiment_batch.model.folder import read_model_folder
    from sentiment_batch.model.graphs import GRAPHS, RECORD

    folder = tmp_path_factory.mktemp("optimized_model") / "model"
    shutil.copytree(tiny_model, folder)
    found = read_model_folder(str(folder))
    graph = convert(found)
    hashes = {"float": save(graph, folder / GRAPHS["float"])}
    ids = np.random.default_rng(0).integers(5, found.vocab_size, (4, 1, 12))
    int8 = quantise(graph, [(each, np.ones_like(each)) for each in ids], symmetric=False)
    hashes["int8"] = save(int8, folder / GRAPHS["int8"])
    (folder / RECORD).write_text(json.dumps({"model": found.digest, "graphs": hashes}))
    return folder


def save_random_model(folder: Path, config: object, seed: int = 0) -> None:
    """Save a classifier of the configuration with random weights, and a WordPiece tokenizer of the sample's words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import AutoModelForSequenceClassification, BertTokenizer

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    texts = [text for text, _ in sample_rows()[:500]]
    # Without numbers of their own these pieces come in the order of a hash table, and a test would meet other tokens in
    # each run (as in model/scratch.py).
    inner = [f"##{character}" for character in sorted(set(tokenizer.normalizer.normalize_str("".join(texts))) - {" "})]
    trainer = trainers.WordPieceTrainer(
        vocab_size=600,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *inner],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab()
    config.vocab_size = len(vocabulary)  # type: ignore[attr-defined]
    torch.manual_seed(seed)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    BertTokenizer(vocab=vocabulary).save_pretrained(folder)


class TooSlow(BaseException):
    """No `OSError`, as `TimeoutError` is: the code under test must not catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Ends a loop that does not end."""

    def give_up(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a moto server, a real S3 over HTTP; this process's environment points to it."""
    import boto3
    from moto import backends
    from moto.server import ThreadedMotoServer

    services = tuple(backends.list_of_moto_modules())
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        # it looks for the folders of all its services twice in each request, in a quarter of the request's time
        patch.setattr(backends, "list_of_moto_modules", lambda: services)
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="bucket")
        yield endpoint
    server.stop()


@pytest.fixture
def bucket(s3_server: str) -> str:
    """A URL in a real object store under which nothing lies yet."""
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> "Store":
    """An empty place of each kind; the tests that take it run twice."""
    from sentiment_batch.write.bucket import Bucket
    from sentiment_batch.write.store import Folder

    if request.param == "bucket":
        return Bucket(request.getfixturevalue("bucket"))
    (tmp_path / "store").mkdir()
    return Folder(tmp_path / "store")
