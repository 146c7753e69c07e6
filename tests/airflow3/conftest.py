"""One Airflow for all tests of this folder, which run in .venv-airflow: scripts/test_airflow."""

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow3.engine import ROOT, Airflow, started, variants

# In .venv, where the other tests run, there is no Airflow.
collect_ignore_glob = ["*"] if importlib.util.find_spec("airflow") is None else []


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the team: dumps, models, labels."""
    return tmp_path_factory.mktemp("reviews")


@pytest.fixture(scope="session")
def make_dump(reviews: Path) -> Callable[..., Path]:
    """`make_dump(day, rows, seed)`: that day's dump, whole from the first moment on."""

    def make(day: str, rows: int, seed: int) -> Path:
        command = [ROOT / ".venv" / "bin" / "python", ROOT / "scripts" / "make_dump.py", "--format", "parquet"]
        made, path = reviews / "made" / day, reviews / "dumps" / f"{day}.parquet"
        subprocess.run([*command, "--rows", str(rows), "--seed", str(seed), "--output-folder", made], check=True)
        path.parent.mkdir(exist_ok=True)
        os.replace(made / "dump.parquet", path)
        return path

    return make


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Iterator[Airflow]:
    with started(tmp_path_factory.mktemp("airflow"), variants(reviews)) as engine:
        yield engine


@pytest.fixture(scope="session")
def nights(airflow: Airflow, make_dump: Callable[..., Path]) -> list[tuple[str, str]]:
    """(DAG, run) of a night from nothing and of the same again, by the DAG as it is and the commands of the guide.

    Their model is there for the other tests, too.
    """
    make_dump("2026-01-31", 1_000, 1)
    airflow.guide("dags trigger")
    runs = [("label_reviews", run["dag_run_id"]) for run in airflow.runs("label_reviews")]
    assert len(runs) == 2
    for run in runs:
        assert airflow.ended(*run) == "success", airflow.states(*run)
    return runs


@pytest.fixture(scope="session")
def nightly(nights: list[tuple[str, str]]) -> tuple[str, str]:
    return nights[0]
