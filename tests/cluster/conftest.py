"""A real Ray cluster of several nodes on this host, and the program beside it, in processes of its own."""

import os

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64, "RAY_USAGE_STATS_ENABLED": "0"}

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from faults.jobs import OPTIONS, write_dump
from faults.processes import processes, stat

TESTS = Path(__file__).parents[1]
ROWS, SHARDS, CHUNKS = 200, 7, 20
_STORE_BYTES = 80 * 2**20


@pytest.fixture(scope="session")
def nodes(s3_server: str) -> Iterator[Any]:
    """A cluster: a head without cores, and two nodes with a core each. It has moto's S3 in its environment."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        found = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            add_node(found)
        yield found
        found.shutdown()


def add_node(nodes: Any, **more: Any) -> Any:
    return nodes.add_node(num_cpus=1, object_store_memory=_STORE_BYTES, **more)


@dataclass
class Run:
    """The program at work."""

    process: subprocess.Popen[str]
    err: Path
    out: Path
    began: float = field(default_factory=time.monotonic)

    def ended(self, seconds: float = 180) -> int:
        return self.process.wait(timeout=seconds)

    def last_line(self) -> str:
        return (self.err.read_text().splitlines() or [""])[-1]

    def wait_for(self, what: Callable[[], object], seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < until, self.err.read_text()
            time.sleep(0.02)

    def sealed(self) -> dict[str, int]:
        """The parts so far, with their inodes: one that is made again has another."""
        where = self.out if self.out.exists() else self.out.with_name(f".{self.out.name}.wip")
        return {path.name: path.stat().st_ino for path in where.glob("part-*")}


Start = Callable[..., Run]


@pytest.fixture
def start(nodes: Any, dump: Path, tmp_path: Path) -> Iterator[Start]:
    """`start(hook, *arguments, ray=ADDRESS, out=NAME)`: the program, labelling the dump on the cluster."""
    begun: list[Run] = []
    (tmp_path / "stub").mkdir(exist_ok=True)
    (tmp_path / "chunks").mkdir()

    def begin(hook: str, *more: object, ray: str | None = None, out: str = "out", **environment: str) -> Run:
        given = {"--model": tmp_path / "stub", "--output": out if "://" in out else tmp_path / out}
        given |= {"--ray": ray or nodes.address, "--workers": 2, "--metrics": tmp_path / f"metrics{len(begun)}.json"}
        given |= dict(zip(OPTIONS[::2], OPTIONS[1::2], strict=True)) | dict(zip(more[::2], more[1::2], strict=True))
        source = given.pop("INPUT", dump)
        options = [str(each) for pair in given.items() if pair[1] is not None for each in pair]
        err = tmp_path / f"err{len(begun)}"
        with err.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "cluster.driver", hook, "score", str(source), *options],
                stdout=file,
                stderr=file,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), **environment},
                start_new_session=True,
                cwd=tmp_path,
                text=True,
            )
        begun.append(Run(process, err, tmp_path / Path(out).name))
        return begun[-1]

    yield begin
    for run in begun:
        for pid, fields in processes():
            if int(fields[3]) == run.process.pid:
                os.kill(pid, signal.SIGKILL)
        run.process.wait()
    wait_until(lambda: not actors())


@pytest.fixture(scope="session")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dump(tmp_path_factory.mktemp("dump") / "dump.tsv", ROWS)


def actors() -> list[int]:
    """The workers on this cluster: another one may be on the host, of another run of the tests."""
    return [pid for pid, fields in processes() if is_worker(pid) and _parent(int(fields[1])) == os.getpid()]


def is_worker(pid: int) -> bool:
    """By the name that Ray gives to the process."""
    return b"ray::RayWorker" in _cmdline(pid)


def _parent(pid: int) -> int:
    return int((stat(pid) or ["", "0"])[1])


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until(what: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)
