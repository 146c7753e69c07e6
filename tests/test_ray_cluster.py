"""ray_cluster.py without a cluster: who gets which share, and what becomes of this process."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sentiment_batch import ray_cluster, stop
from sentiment_batch.errors import EnvironmentFailure, Stopped, UsageError
from sentiment_batch.ray_cluster import Share, connected, share_of

HEAD = {"memory": 1e9, "object_store_memory": 1e8}


def cores(*counts: float) -> list[dict[str, float]]:
    return [HEAD, *({"CPU": count, **HEAD} for count in counts)]


@pytest.mark.parametrize(
    ("nodes", "workers", "share"),
    [
        (cores(4, 16), "auto", Share(2, 2, 8, 0)),
        (cores(8, 8, 8), "auto", Share(3, 3, 8, 0)),
        (cores(8, 8, 8), 4, Share(4, 6, 4, 0)),
        (cores(2), 2, Share(2, 2, 1, 0)),
        (cores(2), 1, Share(1, 1, 2, 0)),
        (cores(2), 5, Share(5, 2, 1, 0)),
        (cores(0.5), "auto", Share(1, 1, 1, 0)),
        ([], "auto", Share(1, 1, 1, 0)),
        ([*cores(8), {"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 4.0}], "auto", Share(6, 6, 1, 1)),
        ([{"CPU": 8.0, "GPU": 2.0}], 3, Share(3, 2, 1, 1)),
    ],
)
def test_the_share_of_a_worker(nodes: Any, workers: Any, share: Share) -> None:
    assert share_of(nodes, workers, may_use_gpus=True) == share


def test_gpus_are_left_to_others_where_they_are_of_no_use() -> None:
    assert share_of([{"CPU": 8.0, "GPU": 2.0}], "auto", may_use_gpus=False) == Share(1, 1, 8, 0)


def test_a_share_in_words_and_for_ray() -> None:
    assert [str(Share(2, 2, *each)) for each in ((1, 0), (8, 0), (1, 1))] == [
        "1 core each",
        "8 cores each",
        "a GPU each",
    ]
    assert Share(2, 2, 8, 0).resources == {"num_cpus": 8, "num_gpus": 0}


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"--ray needs Ray: pip install 'sentiment-batch\[ray\]'"), connected("local"):
        pass


class Ray:
    """As much of Ray as `connected` sees, with what `init` is to do."""

    def __init__(self, init: Any, initialized: bool = False):
        self.begin, self.seen, self.initialized = init, {}, initialized
        self.ended = threading.Event()

    def is_initialized(self) -> bool:
        return self.initialized

    def init(self, **given: Any) -> None:
        self.seen = {**given, "folder": os.getcwd(), "thread": threading.current_thread(), **os.environ}
        self.begin()

    def shutdown(self) -> None:
        assert threading.current_thread() is self.seen["thread"]
        self.ended.set()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def with_init(init: Any, initialized: bool = False) -> Ray:
        ray = Ray(init, initialized)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(ray_cluster, "_quiet", lambda: None)
        return ray

    return with_init


def nothing() -> None:
    pass


def test_a_cluster_of_this_host(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else is on the host cannot get in, nobody is told of it, and this process is as it was."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the user's cluster")
    before, folder = dict(os.environ), os.getcwd()

    def init() -> None:
        os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does
        signal_of_ray.append(signal.getsignal(signal.SIGTERM))

    signal_of_ray: list[Any] = []
    ray = install(init)
    with connected("local") as found:
        assert found is ray
        assert os.getcwd() == folder
        assert len(ray.seen["RAY_AUTH_TOKEN"]) == 64
        assert ray.seen["RAY_USAGE_STATS_ENABLED"] == "0"
        assert (ray.seen["address"], ray.seen["include_dashboard"], ray.seen["log_to_driver"]) == (
            "local",
            False,
            False,
        )
        assert ray.seen["folder"] == "/", "Ray has workers look for modules in the working folder"
        temporary = Path(ray.seen["_temp_dir"])
        assert temporary.is_dir()
        assert temporary.stat().st_mode & 0o077 == 0
        assert ray.seen["thread"].is_alive(), "with it its processes would end"
    assert ray.ended.is_set()
    assert not ray.seen["thread"].is_alive()
    assert not temporary.exists()
    assert dict(os.environ) == before


def test_another_cluster_is_left_as_it_is(install: Any) -> None:
    before = dict(os.environ)
    ray = install(nothing)
    with connected("head:6379"):
        assert {"address": "head:6379", "log_to_driver": False}.items() <= ray.seen.items()
        assert not {"num_cpus", "_temp_dir", "object_store_memory"} & ray.seen.keys()
        assert dict(os.environ) == before
    assert ray.ended.is_set()


def test_who_is_connected_stays_so(install: Any) -> None:
    ray = install(nothing, initialized=True)
    with connected("auto") as found:
        assert found is ray
    assert not ray.seen
    assert not ray.ended.is_set()


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            ConnectionError("Could not find any\nrunning Ray instance."),
            EnvironmentFailure,
            "any running Ray instance; run",
        ),
        (RuntimeError("Version mismatch: the cluster has Ray 2.50"), UsageError, "Version mismatch"),
        (ValueError("no such address"), UsageError, "no such address"),
        (type("AuthenticationError", (RuntimeError,), {})("no token"), UsageError, "no token"),
        (SystemExit(15), EnvironmentFailure, "15"),
    ],
)
def test_a_cluster_that_does_not_take_us(error: Any, kind: Any, text: str, install: Any) -> None:
    def fail() -> None:
        raise error

    folder = os.getcwd()
    install(fail)
    with pytest.raises(kind, match=f"--ray head:6379: .*{text}") as raised, connected("head:6379"):
        pass
    assert raised.type is kind
    assert os.getcwd() == folder


def test_a_cluster_that_does_not_answer(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_PATIENCE_SECONDS", 0.2)
    late = threading.Event()
    ray, folder = install(late.wait), os.getcwd()
    with pytest.raises(EnvironmentFailure, match="--ray head:6379: no answer in"), connected("head:6379"):
        pass
    assert os.getcwd() == folder
    late.set()
    assert ray.ended.wait(5), "an answer that comes too late is no connection"


def test_a_stop_while_it_is_begun(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()
    ray = install(late.wait)
    monkeypatch.setattr(stop, "_noted", signal.SIGINT)
    with pytest.raises(Stopped), connected("local"):
        pass
    late.set()
    time.sleep(0.05)
    assert not ray.ended.is_set(), "the process ends, and Ray with it"
