"""A real Airflow 3: its scheduler, its API server and its processor of DAGs, each a process of its own."""

import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
DAG = ROOT / "jobs" / "airflow_dag.py"
GUIDE = ROOT / "docs" / "airflow.md"
PROGRAM = ROOT / ".venv" / "bin" / "sentiment-batch"
AIRFLOW = Path(sys.executable).parent / "airflow"

PATIENCE = 400.0  # seconds for what takes ten


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.2) -> Any:
    """What the condition returns, when it is true."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {patience:.0f} s"
        time.sleep(pause)
    return found


def edited(settings: dict[str, str], dag_id: str) -> str:
    """The DAG as a team has it: with other settings at its top, and nothing else changed but the name."""
    text = DAG.read_text(encoding="utf-8").replace('"label_reviews",', f'"{dag_id}",')
    for name, value in settings.items():
        text, found = re.subn(rf"(?m)^{name} = .*?(?=  #|$)", lambda _, new=f"{name} = {value}": new, text)  # type: ignore[misc]
        assert found == 1, name
    return text


@dataclass
class Airflow:
    """The engine; what is asked of it goes through its command line and its REST API."""

    home: Path
    env: dict[str, str]
    url: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    token: str = ""

    def cli(self, *arguments: str) -> str:
        ended = subprocess.run([AIRFLOW, *arguments], env=self.env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def guide(self, beginning: str) -> list[str]:
        """Run the commands of the guide that begin so; what each printed."""
        lines = GUIDE.read_text(encoding="utf-8").splitlines()
        found = [shlex.split(line)[1:] for line in lines if line.startswith(f"    airflow {beginning}")]
        return [self.cli(*command) for command in found]

    def begin(self, name: str, *arguments: str) -> None:
        with open(self.home / f"{name}.log", "ab") as log:
            self.processes.append(subprocess.Popen([AIRFLOW, name, *arguments], env=self.env, stdout=log, stderr=log))

    def schedule_by_itself(self, dag_id: str) -> None:
        """From now on that DAG runs when it is its turn, and no other at all."""
        for each in self.ask("/api/v2/dags")["dags"]:
            self.ask(f"/api/v2/dags/{each['dag_id']}", "PATCH", is_paused=each["dag_id"] != dag_id)
        scheduler = self.processes.pop()
        scheduler.terminate()
        scheduler.wait(60)
        self.env["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] = "True"
        self.begin("scheduler", "--skip-serve-logs")

    def ask(self, path: str, method: str = "GET", **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = requests.request(method, self.url + path, json=body or None, headers=headers, timeout=60)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(f"/api/v2/dags/{dag_id}/dagRuns?order_by=id")["dag_runs"]
        return found

    def trigger(self, dag_id: str, day: str, **conf: Any) -> str:
        """Begin a run by hand for a day; its id."""
        run_id = f"{day}-{len(self.runs(dag_id))}"
        self.cli("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps({"day": day, **conf}))
        return run_id

    def clear(self, dag_id: str, run_id: str, failed_only: bool = False) -> None:
        """What the button of that name does: the tasks of the run are done again."""
        body = {"dag_run_id": run_id, "dry_run": False, "only_failed": failed_only, "reset_dag_runs": True}
        self.ask(f"/api/v2/dags/{dag_id}/clearTaskInstances", "POST", **body)

    def instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances as they are now."""
        found: list[dict[str, Any]] = self.ask(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        return {each["task_id"]: each["state"] for each in self.instances(dag_id, run_id)}

    def ended(self, dag_id: str, run_id: str) -> str:
        """How the run ended, when it has."""

        def state() -> str | None:
            found = self.ask(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            return found if found in ("success", "failed") else None

        return str(until(state, f"{dag_id} {run_id}", pause=0.5))

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        found: dict[str, Any] = self.ask(f"{path}?deserialize=true")["value"]
        return found

    def log(self, dag_id: str, run_id: str, task_id: str, number: int = 0) -> list[str]:
        """What the task said in its first, second, ... attempt that began the program, line by line."""
        return self.logs(dag_id, run_id, task_id)[number]

    def logs(self, dag_id: str, run_id: str, task_id: str) -> list[list[str]]:
        """Of each attempt that began the program: on a busy machine Airflow may need more than one to get so far."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        attempts = sorted(folder.glob("attempt=*.log"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
        texts = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in attempts]
        found = [[str(json.loads(line).get("event")) for line in lines] for lines in texts]
        return [lines for lines in found if any(line.startswith("exit code ") for line in lines)]

    def exits(self, dag_id: str, run_id: str, task_id: str) -> list[int]:
        """How the program ended, each time."""
        lines = [line for log in self.logs(dag_id, run_id, task_id) for line in log]
        return [int(line.rpartition(" ")[2]) for line in lines if re.fullmatch(r"exit code -?\d+", line)]


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


def settings_of(home: Path, url: str) -> dict[str, str]:
    """The environment of an Airflow that lives in that folder and asks nobody else."""
    settings = {
        "CORE__DAGS_FOLDER": str(home / "dags"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "3",
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "API__BASE_URL": url,
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "SCHEDULER__USE_JOB_SCHEDULE": "False",  # no run but those that a test asks for
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        "WORKERS__EXECUTION_API_TIMEOUT": "60",  # on a busy machine
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    env |= {"AIRFLOW_HOME": str(home), **{f"AIRFLOW__{name}": value for name, value in settings.items()}}
    env |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return env | {"SENTIMENT_BATCH_SCORE_SHARD_ROWS": "500"}  # a part is what a kill costs: here it is to cost little


@contextmanager
def started(home: Path, dags: dict[str, str]) -> Iterator[Airflow]:
    """An Airflow that knows these DAGs, by their files' text."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    engine = Airflow(home, settings_of(home, url), url)
    (home / "dags").mkdir()
    for dag_id, text in dags.items():
        (home / "dags" / f"{dag_id}.py").write_text(text, encoding="utf-8")
    engine.cli("db", "migrate")
    try:
        engine.begin("api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
        engine.begin("dag-processor")
        engine.begin("scheduler", "--skip-serve-logs")
        until(lambda: is_up(engine), "the API server")
        engine.token = engine.ask("/auth/token")["access_token"]
        until(lambda: engine.ask("/api/v2/dags")["total_entries"] == len(dags), "the DAGs")
        assert engine.ask("/api/v2/importErrors")["total_entries"] == 0
        yield engine
    finally:
        for process in reversed(engine.processes):
            process.terminate()
        for process in engine.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def is_up(engine: Airflow) -> bool:
    assert all(process.poll() is None for process in engine.processes), "a part of Airflow ended"
    try:
        return requests.get(f"{engine.url}/api/v2/version", timeout=5).ok
    except requests.ConnectionError:
        return False


def snippets() -> tuple[str, str, str]:
    """The Python of the guide: a sensor, a DAG that comes after, mapped tasks."""
    sensor, after, mapped = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return sensor, after, mapped


def variants(reviews: Path) -> dict[str, str]:
    """The DAGs of the tests: one as it is but for paths and a model from nothing, the others with one thing more."""
    train = ["--train", "sample:train", "--valid", "sample:valid", "--base-model", "scratch"]
    common = {
        "HOME": repr(str(reviews)),
        "PROGRAM": repr(str(PROGRAM)),
        "TRAIN": repr([*train, "--epochs", "1", "--limit-rows", "300"]),
        "GATES": repr(["--data", "sample:test", "--gate", "macro_f1>=0.1"]),
        "RETRY_DELAY": "timedelta(seconds=1)",
    }
    strict = {"GATES": repr(["--data", "sample:test", "--gate", "macro_f1>=0.99"])}
    asset = {"LABELLED": 'Asset("of_another")'}
    jakarta = edited(common | asset | {"TIMEZONE": '"Asia/Jakarta"'}, "jakarta").replace("Param\n", "Param, task\n")
    sensor, after, mapped = snippets()
    found = {
        "label_reviews": edited(common, "label_reviews"),
        "use_labels": after,
        "strict": edited(common | asset | strict, "strict"),
        "short": edited(common | asset | {"TIMEOUT": "timedelta(seconds=25)"}, "short"),
        "jakarta": with_end(jakarta, "    train >> ", sensor),
    }
    if has_slices():
        found["mapped"] = with_end(edited(common | asset, "mapped"), "    score = ", verify_line() + mapped)
    return found


def with_end(text: str, begin: str, end: str) -> str:
    """The DAG with another end, from the one line on that begins so."""
    assert text.count(f"\n{begin}") == 1
    return text.partition(f"\n{begin}")[0] + "\n" + end


def verify_line() -> str:
    """The line of the DAG between `score` and its last one, which stays."""
    (found,) = (line for line in DAG.read_text(encoding="utf-8").splitlines() if line.startswith("    verify = "))
    return found + "\n"


def has_slices() -> bool:
    return "--shard-slice" in subprocess.run([PROGRAM, "score", "--help"], capture_output=True, text=True).stdout
