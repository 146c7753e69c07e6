"""An object store that fails at each request in turn: what is done stays done, what is not is done again.

Rows 33 to 37 of the matrix, and "Lost S3 answers" of its figures (README.md). The store is a real S3 over HTTP (moto)
behind a proxy that spoils requests. Runs are forked from a process of this file's own, whose obstore waits less before
it tries again, as often as ever.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from faults import zygote as forks
from faults.jobs import arguments, finish, objects, write_dump
from faults.proxy import CONFLICT, EXPIRED, INTERNAL, KINDS, LOST, SECRET, SLOW_DOWN, STRIP, WRITES, Proxy
from faults.zygote import Ended, Zygote
from sentiment_batch import remote

ROWS = 110  # four shards
KEY = "the-secret-key-of-the-canary"
Tier = Callable[[int, int], int]


class Impatient(Zygote):
    """Its runs try again at once."""

    module = "faults.test_bucket_faults"


@pytest.fixture(scope="module")
def proxy(s3_server: str) -> Iterator[Proxy]:
    with Proxy(s3_server) as proxy:
        yield proxy


class Bench:
    """One job into a bucket behind the proxy, and what it makes when nothing happens."""

    def __init__(self, proxy: Proxy, zygote: Zygote, folder: Path):
        self.proxy, self.zygote, self.cases = proxy, zygote, 0
        self.dump = write_dump(folder / "dump.tsv", ROWS)
        self.scratch = folder / "tmp"
        self.url = f"s3://bucket/faults-{random.Random().getrandbits(64):x}"
        out = self.fresh()
        proxy.arm()
        finish(zygote, *arguments(self.dump, out))
        self.requests = proxy.seen
        self.expected = objects(out)

    def fresh(self) -> str:
        self.cases += 1
        return f"{self.url}/{self.cases}"

    def spoilt(self, out: str, kind: str, at: int, **more: bool) -> Ended:
        """The job with that fault at its request of that number."""
        self.proxy.arm(kind, at, **more)
        ended = self.zygote.run(*arguments(self.dump, out))
        assert self.proxy.fired
        assert list(self.scratch.iterdir()) == [], "what it built is gone, however it ended"
        self.proxy.arm()
        assert "Traceback" not in ended.err, ended.err
        assert SECRET not in ended.err
        assert KEY not in ended.err
        if ended.code == 0:
            self.check(out)
        else:
            assert ended.err.splitlines()[-1].startswith("error: "), ended.err
            assert objects(out).items() - self.expected.items() <= control(out), "a part is the part, or is not there"
        return ended

    def check(self, out: str) -> None:
        """V1 to V5."""
        assert objects(out) == self.expected
        verified = self.zygote.run("verify", out)
        assert verified.code == 0, verified.err

    def goes_on(self, out: str) -> None:
        finish(self.zygote, *arguments(self.dump, out))
        self.check(out)


@pytest.fixture(scope="module")
def bench(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    secrets = {"AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": SECRET}
    folder = tmp_path_factory.mktemp("bucket")
    (folder / "tmp").mkdir()
    zygote = Impatient(folder, AWS_ENDPOINT_URL=proxy.endpoint, TMPDIR=str(folder / "tmp"), **secrets)
    yield Bench(proxy, zygote, folder)
    zygote.close()


def control(url: str) -> set[tuple[str, str]]:
    return {(name, etag) for name, etag in objects(url).items() if name.startswith(".")}


def test_every_fault_at_every_request(bench: Bench, tier: Tier) -> None:
    """Once. obstore mends most of it; the rest is for the next run."""
    assert len(bench.requests) > 30
    cases = [(kind, at) for kind in KINDS for at in range(1, len(bench.requests) + 1)]
    few = random.Random(33).sample(cases, min(len(cases), tier(16, 10_000)))
    seen: Counter[tuple[str, int]] = Counter()
    for kind, at in few:
        out = bench.fresh()
        ended = bench.spoilt(out, kind, at)
        assert ended.code in (0, 7), (kind, at, bench.requests[at - 1], ended.err)
        seen[kind, ended.code] += 1
        if ended.code:
            bench.goes_on(out)
    print(f"{len(few)} of {len(cases)} cases: {dict(seen)}")


@pytest.mark.parametrize("kind", [LOST, CONFLICT])
def test_a_part_that_is_written_in_spite_of_its_answer(bench: Bench, kind: str) -> None:
    """The answer to the PUT of a part, of the claim and of the manifest: no failure, and nothing is made again."""
    for name in ("PUT part-00001.parquet", "PUT .claim.json", "PUT _SUCCESS"):
        out = bench.fresh()
        ended = bench.spoilt(out, kind, bench.requests.index(name) + 1)
        assert ended.code == 0, ended.err
        assert "made again" not in ended.err


@pytest.mark.parametrize("kind", [INTERNAL, SLOW_DOWN, CONFLICT, EXPIRED, LOST])
def test_a_store_that_fails_for_ever(bench: Bench, tier: Tier, kind: str) -> None:
    """From any request on: an end in bounded time, with 7."""
    requests = range(1, len(bench.requests) + 1)
    chance = random.Random(f"{kind} for ever")
    slowest = 0.0
    for at in sorted(chance.sample(requests, min(len(requests), tier(2, 1_000)))):
        out = bench.fresh()
        ended = bench.spoilt(out, kind, at, forever=True)
        assert ended.code == 7, (at, ended.code, ended.err)
        slowest = max(slowest, ended.seconds)
        bench.goes_on(out)
    assert slowest < 10
    print(f"{kind}: at most {slowest:.1f} s")


def test_writes_alone_fail_for_ever(bench: Bench) -> None:
    out = bench.fresh()
    bench.proxy.arm(SLOW_DOWN, 3, forever=True, methods=WRITES)
    ended = bench.zygote.run(*arguments(bench.dump, out))
    bench.proxy.arm()
    assert ended.code == 7, ended.err
    assert "SlowDown" in ended.err
    bench.goes_on(out)


def test_credentials_that_expire(bench: Bench) -> None:
    """The token that the store's answer and the environment have is in no message."""
    for at in (1, bench.requests.index("PUT part-00001.parquet") + 1):
        out = bench.fresh()
        ended = bench.spoilt(out, EXPIRED, at, forever=True)
        assert ended.code == 7
        assert "ExpiredToken" in ended.err
        assert (bench.requests[0].split()[1] if at == 1 else "part-00001.parquet") in ended.err, "what failed first"
        bench.goes_on(out)


def test_a_store_that_ignores_conditions_is_refused(bench: Bench) -> None:
    """Before a row is labelled, and with nothing left there."""
    out = bench.fresh()
    bench.proxy.arm(STRIP, forever=True)
    ended = bench.zygote.run(*arguments(bench.dump, out))
    written = [each for each in bench.proxy.seen if each.startswith("PUT") and "claim" not in each]
    bench.proxy.arm()
    assert ended.code == 2, ended.err
    assert "If-None-Match" in ended.err
    assert written == []
    assert set(objects(out)) <= {".claim.json"}
    bench.goes_on(out)


def test_two_runs_of_one_job_share_what_they_make(bench: Bench, tier: Tier) -> None:
    """A part that is there already (412) is adopted, if its footer says that it is this job's."""
    shared = 0
    for case in range(tier(4, 100)):
        out = bench.fresh()
        bench.proxy.arm()
        first = bench.zygote.start(*arguments(bench.dump, out))
        time.sleep(random.Random(case).random() * 0.2)
        second = bench.zygote.start(*arguments(bench.dump, out))
        codes = {bench.zygote.wait(pid).code for pid in (first, second)}
        assert codes <= {0, 5}, codes
        shared += max(Counter(each for each in bench.proxy.seen if each.startswith("PUT part-")).values()) > 1
        bench.check(out)
    assert shared, "both came for the same part"


def test_patience_is_bounded(proxy: Proxy, bench: Bench, tier: Tier, capsys: pytest.CaptureFixture[str]) -> None:
    """With the waits that a user has."""
    if tier(0, 1) == 0:
        pytest.skip("takes minutes")
    zygote = Zygote(bench.zygote.folder, AWS_ENDPOINT_URL=proxy.endpoint)
    for at in (1, bench.requests.index("PUT part-00001.parquet") + 1):
        proxy.arm(SLOW_DOWN, at, forever=True)
        ended = zygote.run(*arguments(bench.dump, bench.fresh()))
        proxy.arm()
        assert ended.code == 7, ended.err
        with capsys.disabled():
            print(f"\n503 for ever from request {at} on: given up after {ended.seconds:.0f} s")
        assert ended.seconds < 10 * 60
    zygote.close()


if __name__ == "__main__":
    remote.RETRY["backoff"] |= {"init_backoff": timedelta(milliseconds=2), "max_backoff": timedelta(milliseconds=20)}
    forks.serve()
