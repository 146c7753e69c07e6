"""Every night on Airflow 3: train once, evaluate with gates, label the dump of the day, verify the labels.

Copy this file into the folder of your DAGs and mend the settings; docs/airflow.md says more. It imports nothing of
sentiment-batch, which lies in an environment of its own and is run as a program.
"""

import json
import os
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, BaseOperator, Context, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

# Settings. They are read when the file is parsed, so there is no Variable among them: each would be a query every time.

HOME = os.environ.get("REVIEWS_HOME", "/srv/reviews")
PROGRAM = f"{HOME}/.venv/bin/sentiment-batch"

TIMEZONE = "UTC"
SCHEDULE = "0 2 * * *"  # at 02:00 the dump of the day before is labelled
FIRST_DAY = "2026-01-31"  # the days since then are made up for when the DAG is switched on
TIMEOUT = timedelta(hours=6)  # of a try; the next one goes on behind the last finished part
RETRY_DELAY = timedelta(minutes=5)  # at least; each further one is about twice as long, up to an hour

MODEL = f"{HOME}/models/1"  # another training, another name
TRAIN = ["--train", f"{HOME}/data/train.tsv", "--valid", f"{HOME}/data/valid.tsv"]
GATES = ["--data", f"{HOME}/data/test.tsv", "--gate", "macro_f1>=0.80", "--gate", "recall[negative]>=0.75"]

# The day of the run's interval, however late it is; a run by hand may name another.
DAY = "{{ params.day or (data_interval_start.in_timezone(dag.timezone) | ds) }}"
DUMP = f"{HOME}/dumps/{DAY}.parquet"  # this and the next may be s3:// URLs
LABELS = f"{HOME}/labelled/{DAY}"
OVERWRITE = "{{ '--overwrite' if params.overwrite else '' }}"
METRICS = f"{HOME}/metrics/{DAY}"

LABELLED = Asset("labelled_reviews")  # `schedule=[Asset("labelled_reviews")]` runs another DAG on it

# Worth a retry: busy; disk, memory or network; and a signal, behind which the program goes on where it stopped. The
# others want a person. 10 is among these: who gives a --deadline wants the machine for something else from then on.
RETRY = {5, 7, 129, 130, 143}
GRACE_SECONDS = 60  # from SIGTERM to SIGKILL; the program needs ten


class SentimentBatch(BaseOperator):
    """Runs the program. What it says is in the log of the task, and what it found in XCom, behind a failure too."""

    template_fields = ("command", "metrics")

    def __init__(self, *, command: list[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.command = command
        self.metrics = METRICS
        self.program: subprocess.Popen[bytes] | None = None

    def execute(self, context: Context) -> None:
        number = context["ti"].map_index  # -1 where it is not mapped
        metrics = f"{self.metrics}/{self.task_id}{f'-{number}' if number >= 0 else ''}.json"
        with TemporaryDirectory() as folder:
            xcom = Path(folder, "xcom.json")
            code = self._run([PROGRAM, *filter(None, self.command), "--metrics", metrics, "--xcom", str(xcom)])
            found = json.loads(xcom.read_bytes()) if xcom.exists() else {}
        context["ti"].xcom_push("return_value", found | {"metrics": metrics})
        if code:
            kind = AirflowException if code in RETRY or code < 0 else AirflowFailException  # the latter has no retry
            raise kind(f"exit code {code}: {found.get('error', 'see the log')}")
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"output": found["output"], "metrics": metrics}

    def _run(self, command: list[str]) -> int:
        """Its exit code, or less than 0 if a signal killed it. It has ended when this returns or raises."""
        self.log.info("%s", shlex.join(command))
        env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        # In a session of its own, so that it gets one SIGTERM, from on_kill: a second one ends it at once.
        self.program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env={**env, "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
        try:
            return self.program.wait()
        except BaseException:  # AirflowTaskTimeout is no Exception
            self.on_kill()
            raise
        finally:
            try:
                self.program.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.program.kill()
            self.log.info("exit code %s", self.program.wait())

    def on_kill(self) -> None:
        """Of a timeout, or when the task is to end: cleared, set to failed, its worker drained."""
        if self.program:
            self.program.terminate()


with DAG(
    "label_reviews",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(SCHEDULE, timezone=TIMEZONE),
    start_date=pendulum.parse(FIRST_DAY, tz=TIMEZONE),
    catchup=True,  # a day is labelled late rather than never
    params={
        "day": Param(None, type=["null", "string"], format="date", description="label this day's dump"),
        "overwrite": Param(False, type="boolean", description="replace its labels: the dump was mended"),
    },
    default_args={
        "retries": 5,
        "retry_delay": RETRY_DELAY,
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(hours=1),
        "execution_timeout": TIMEOUT,
        "max_active_tis_per_dag": 1,  # no two trainings at a time, and one night has all cores; in a backfill, too
    },
):
    train = SentimentBatch(task_id="train", command=["train", *TRAIN, "--output", MODEL])
    evaluate = SentimentBatch(
        task_id="evaluate", command=["evaluate", *GATES, "--model", MODEL, "--output", f"{MODEL}-evaluation"]
    )
    score = SentimentBatch(
        task_id="score",
        command=["score", DUMP, "--model", MODEL, "--output", LABELS, OVERWRITE],
    )
    verify = SentimentBatch(task_id="verify", command=["verify", LABELS], outlets=[LABELLED])

    train >> evaluate >> score >> verify
