"""report.py and measure/report.py: the page of a metrics JSON, as text, beside what a job made, and in a browser."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import documents
import pytest
from conftest import LABELS, Program, random_texts, sample_rows
from documents import ALERT, evaluated, scored, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sentiment_batch import report
from sentiment_batch.config import ReportOptions
from sentiment_batch.errors import InputError, OutputConflict, Stopped
from sentiment_batch.measure.report import report_html
from sentiment_batch.measure.stamp import is_stamped, stamp
from sentiment_batch.model.folder import files_digest, read_model_folder
from sentiment_batch.write.bucket import Bucket

CHROMIUM = shutil.which("chromium")
VOID = {"meta", "link", "br", "path", "use", "rect"}


class Page(HTMLParser):
    """What a page has in it. Fails for what is not closed."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += f"{data} "


@cache
def drawn(kind: str) -> str:
    return report_html(documents.ALL[kind]())


def page_of(metrics: dict[str, Any], texts: dict[int, str] | None = None) -> Page:
    return Page(report_html(metrics, texts))


@pytest.mark.parametrize("kind", documents.ALL)
def test_a_page_is_whole_and_needs_nothing(kind: str) -> None:
    page = Page(drawn(kind))
    assert not {"script", "img", "iframe", "object", "form", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href")]
    assert all(value.startswith(("#", "data:,")) for value in links)
    used = {value[1:] for name, value in page.attributes if name == "xlink:href"}
    used |= {each for _, value in page.attributes for each in re.findall(r"url\(#([^)]+)\)", value)}
    used |= {each for name, value in page.attributes if name == "aria-labelledby" for each in value.split()}
    assert used <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == page.tags.count("title") - 1
    assert page.tags.count("table") == page.tags.count("caption")
    assert page.headings[:2] == ["h1", "h2"]
    assert all(int(after[1]) <= int(before[1]) + 1 for before, after in pairwise(page.headings))


@pytest.mark.parametrize("kind", ["train", "compare", "swapped"])
def test_the_same_metrics_have_the_same_bytes(kind: str) -> None:
    metrics = documents.ALL[kind]()
    assert report_html({**metrics, "gates": tuple(metrics["gates"])} if "gates" in metrics else metrics) == drawn(kind)


def test_a_matplotlibrc_in_the_way_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(
        "xtick.labelsize: 40\nsvg.fonttype: path\naxes.labelpad: 30\nno.such.key: 1\n"
    )
    (tmp_path / "metrics.json").write_text(json.dumps(evaluated()))
    for folder in (tmp_path, Path("/")):
        out = tmp_path / f"{folder.name}.html"
        command = [sys.executable, "-m", "sentiment_batch", "report", tmp_path / "metrics.json", "--output", out]
        ended = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        assert re.fullmatch(r"[^\n]* INFO drawn: [^\n]*\n", ended.stderr)
    assert (tmp_path / f"{tmp_path.name}.html").read_bytes() == (tmp_path / ".html").read_bytes()


def test_where_nobody_can_write_matplotlib_leaves_nothing(tmp_path: Path) -> None:
    """As in a hardened job: it would keep a folder, and say so."""
    (tmp_path / "metrics.json").write_text(json.dumps(scored()))
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "sentiment_batch", "report", tmp_path / "metrics.json"]
    environment = {"HOME": "/dev/null/none", "TMPDIR": str(tmp_path / "tmp"), "PATH": "/usr/bin:/bin"}
    environment["PYTHONPATH"] = str(Path(report.__file__).parents[1])
    ended = subprocess.run(
        [*command, "--output", tmp_path / "page.html"], env=environment, check=True, capture_output=True, text=True
    )
    assert "matplotlib" not in ended.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_an_evaluation_says() -> None:
    text = page_of(evaluated(gates=("macro_f1>=0.80", "recall[neutral]>=0.75", "accuracy>=0.95"))).text
    for said in (
        "It may not go live: 1 of 3 conditions fails.",
        "accuracy is to be at least 0.95: it is 0.893, and by the interval it may be anything from 0.876 to 0.910.",
        "0.865 95 %: 0.840 to 0.889",
        "It is right in 89.3 % of the rows. Always saying “\u2068positive\u2069” would be right in 58.3 %.",
        "135 of 1,260 rows are wrong. The most frequent mistake: 45 rows that are “\u2068negative\u2069” were called",
        "682 93%",
        "0.810, 131 rows",
        "1-7 tokens",
        "on average it says 96.9 %, and is right in 89.2 %",
        "Not quite: it is surer than it should be",
        "1040 positive negative 0.994",
        "It does not know 0.9 % of their tokens",
        "587 MiB",
        "data/valid.tsv 241 KiB 1,260",
        "2026-11-26 14:42 UTC",
    ):
        assert said in text, said
    assert "recall[neutral]" not in text


def test_texts_are_shown_only_if_they_are_given() -> None:
    metrics = evaluated()
    assert "--show-texts" in page_of(metrics).text
    page = page_of(metrics, {1040: f"enak {ALERT}\n\tsekali " + "x" * 5000, 7: "a\u202eb"})
    assert f"1040 positive negative 0.994 enak {ALERT} sekali xxx" in page.text
    assert "a\\u202eb" in page.text
    assert "x" * 2_500 not in page.text
    assert "script" not in page.tags


def test_what_a_document_lacks_is_not_shown() -> None:
    """Those of before there were intervals, verdicts, calibration, slices, mistakes and profiles."""
    metrics = evaluated(gates=("macro_f1>=0.9",))
    for name in ("intervals", "calibration", "slices", "mistakes", "label_order"):
        del metrics["evaluation"][name]
    del metrics["profile"]
    metrics["gates"] = [{"condition": "macro_f1>=0.9", "value": 0.865, "holds": False}]
    text = page_of(metrics).text
    assert "It may not go live: its one condition fails." in text
    assert "0.840 to 0.889" in text, "they follow from the matrix"
    for title in ("Can its confidence be trusted?", "Is some part of the rows worse?", "How long the texts are"):
        assert title not in text
    for name in ("predictions", "performance", "input", "identity", "gates"):
        del metrics[name]
    assert "No verdict" in page_of(metrics).text


def test_a_split_without_rows_has_no_figures() -> None:
    metrics = scored()
    metrics["evaluation"] = {"rows": 0, "accuracy": None}
    assert "How good is it?" not in page_of(metrics).text


@pytest.mark.parametrize("rows", [1, 3])
def test_a_few_rows_of_few_epochs_are_drawn(rows: int) -> None:
    assert "epoch 1 is kept" in page_of(trained(1)).text
    metrics = evaluated([[rows, 0], [0, 0]], ("yes", "no"))
    assert "0 of" in page_of(metrics).text


@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=2, max_size=3, unique=True))
def test_any_labels_stay_text(labels: list[str]) -> None:
    names = tuple(label + ALERT if place == 0 else label for place, label in enumerate(labels))
    size = len(names)
    metrics = evaluated([[place + 1] * size for place in range(size)], names)
    html = report_html(metrics)
    page = Page(html)
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
    html.encode()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_whatever_is_no_metrics_json_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A value of another kind anywhere in it: there is a page, or it is bad input."""
    metrics: Any = data.draw(st.sampled_from([scored(), documents.compared(), documents.drifted()]))
    place = metrics
    while isinstance(place, dict) and place:
        key = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()) or not isinstance(place[key], dict):
            place[key] = data.draw(st.sampled_from([None, 0, -1, "x", [], {}, [1], {"a": 1}, 1e308, True]))
            break
        place = place[key]
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(metrics))
    with suppress(InputError):
        report.report(ReportOptions(metrics=str(path), output=f"{path}.html"))


# Beside what a job made


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("split") / "split.tsv"
    rows = [*sample_rows("test")[:40], *((text, LABELS[row % 3]) for row, text in enumerate(random_texts(40)))]
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def evaluation_of(program: Program, model: Path, data: Path, output: object, *others: object) -> tuple[int, str]:
    ended = program("evaluate", "--model", model, "--data", data, "--output", output, "--progress", "none", *others)
    return ended.code, ended.err


def test_an_evaluation_has_its_page(split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    out = tmp_path / "out"
    assert evaluation_of(program, tiny_model, split, out, "--gate", "macro_f1>=0.99")[0] == 9
    page = (out / "report.html").read_text()
    assert "It may not go live: its one condition fails." in Page(page).text
    made = (out / "report.html").stat()
    assert evaluation_of(program, tiny_model, split, out)[0] == 0
    assert (out / "report.html").stat() == made, "a finished job makes nothing again"
    code, err = evaluation_of(program, tiny_model, split, out, "--show-texts")
    assert (code, (out / "report.html").stat()) == (0, made)
    assert f"sentiment-batch report {out}/metrics.json --show-texts" in err
    assert program("report", out / "metrics.json", "--output", tmp_path / "again.html").code == 0
    assert (tmp_path / "again.html").read_text() == page


def test_a_killed_job_makes_its_page_and_one_of_other_gates_anew(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Stopped(15)

    out, unfinished = tmp_path / "out", tmp_path / ".out.wip" / "report.html"
    with monkeypatch.context() as patch:
        patch.setattr("sentiment_batch.evaluate.settle_json", killed)
        assert evaluation_of(program, tiny_model, split, out, "--gate", "rows>=1")[0] == 143
        first = unfinished.stat().st_ino
        assert evaluation_of(program, tiny_model, split, out, "--gate", "rows>=1")[0] == 143
        assert unfinished.stat().st_ino == first, "it says the same"
        assert evaluation_of(program, tiny_model, split, out, "--gate", "rows>=2")[0] == 143
        assert unfinished.stat().st_ino != first
    assert evaluation_of(program, tiny_model, split, out, "--gate", "rows>=3")[0] == 0
    assert "rows measured is to be at least 3" in Page((out / "report.html").read_text()).text


def without_the_extra(patch: pytest.MonkeyPatch) -> None:
    for name in ("report", "page", "quality", "plots", "svg"):
        patch.delitem(sys.modules, f"sentiment_batch.measure.{name}", raising=False)
    patch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("score", "SPLIT --model MODEL"),
        ("score", "SPLIT --model MODEL --workers 2 --shard-rows 40"),
        ("evaluate", "--data SPLIT --model MODEL"),
        ("compare", "MODEL MODEL --data SPLIT"),
    ],
)
def test_what_draws_is_imported_while_the_model_is_loaded(
    command: str,
    given: str,
    split: Path,
    tiny_model: Path,
    tmp_path: Path,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: SimpleQueue[threading.Thread] = SimpleQueue()
    module = importlib.import_module(f"sentiment_batch.{command}")
    monkeypatch.setattr(module, "prepare_page", lambda: threads.put(threading.current_thread()))
    words = [{"SPLIT": split, "MODEL": tiny_model}.get(word, word) for word in given.split()]
    ended = program(command, *words, "--output", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert threads.get(timeout=20) is not threading.main_thread()
    assert threads.empty(), "once"
    assert list((tmp_path / "out").glob("*report.html"))


def test_without_the_extra_there_is_no_page_and_no_harm(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        without_the_extra(patch)
        code, err = evaluation_of(program, tiny_model, split, tmp_path / "out")
        assert code == 0
        assert (
            err.count("INFO no report.html was drawn: it needs matplotlib: pip install 'sentiment-batch[report]'") == 1
        )
        assert not (tmp_path / "out" / "report.html").exists()
        ended = program("report", tmp_path / "out" / "metrics.json", "--output", tmp_path / "page.html")
        assert (ended.code, "report needs matplotlib: pip install" in ended.err) == (2, True)
        ended = program("score", split, "--model", tiny_model, "--output", tmp_path / "labelled")
        assert ended.code == 0, ended.err
    assert not (tmp_path / "labelled" / "_report.html").exists()
    assert program("verify", tmp_path / "labelled").code == 0


def test_a_page_that_cannot_be_drawn_costs_no_job(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise ValueError("cannot draw 'rahasia pelanggan'")

    monkeypatch.setattr(report, "page_of", broken)
    ended = program("score", split, "--model", tiny_model, "--output", tmp_path / "out", "--progress", "none")
    assert ended.code == 0
    assert "WARNING no _report.html was drawn; all else is done: ValueError: cannot draw '...'" in ended.err
    assert program("verify", tmp_path / "out").code == 0


def test_labels_have_their_page_and_verify_knows_it(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    out = tmp_path / "out"
    command = ("score", split, "--model", tiny_model, "--output", out, "--label-column", "label", "--progress", "none")
    assert program(*command).code == 0
    page = out / "_report.html"
    assert "80 rows in = 80 out + 0 rejected" in Page(page.read_text()).text
    assert program("verify", out).code == 0
    whole = page.read_bytes()
    page.write_bytes(whole.replace(b"accounted", b"discounted"))
    ended = program("verify", out)
    assert (ended.code, "_report.html has" in ended.err) == (3, True)
    page.unlink()
    assert program("verify", out).code == 0
    ended = program(*command)
    assert (ended.code, "done already" in ended.err, "is not of the published output" in ended.err) == (0, True, False)
    page.write_bytes(whole)
    (out / "_report2.html").write_bytes(whole)
    ended = program("verify", out)
    assert (ended.code, "_report2.html is there, but not listed" in ended.err) == (3, True)


def test_in_a_bucket_no_page_tells_of_another_job(
    split: Path, tiny_model: Path, bucket: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("score", split, "--model", tiny_model, "--output", bucket, "--progress", "none", "--overwrite")
    store = Bucket(bucket)
    assert program(*command).code == 0
    first = store.read("_report.html")
    assert first
    assert b"of the published" not in first
    assert program(*command, "--limit-rows", 30).code == 0
    second = store.read("_report.html")
    assert second
    assert "30 rows in = 30 out" in Page(second.decode()).text
    assert program("verify", bucket).code == 0
    with monkeypatch.context() as patch:
        without_the_extra(patch)
        assert program(*command, "--limit-rows", 20).code == 0
    assert store.read("_report.html") is None
    assert program("verify", bucket).code == 0
    out = f"{bucket}-evaluated"
    assert evaluation_of(program, tiny_model, split, out)[0] == 0
    assert b"Evaluation report" in (Bucket(out).read("report.html") or b"")


def test_a_run_that_lost_its_output_swaps_no_page(
    split: Path, tiny_model: Path, bucket: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks whether the output is its own before it replaces the page of another job."""
    assert evaluation_of(program, tiny_model, split, bucket)[0] == 0
    theirs = Bucket(bucket).read("report.html")
    settle_report = report.settle_report

    def too_late(work: Any, *rest: Any) -> None:
        def lost() -> None:
            raise OutputConflict("taken over")

        work.check_held = lost
        settle_report(work, *rest)

    monkeypatch.setattr("sentiment_batch.evaluate.settle_report", too_late)
    assert evaluation_of(program, tiny_model, split, bucket, "--limit-rows", 60, "--overwrite")[0] == 4
    assert Bucket(bucket).read("report.html") == theirs


def test_a_model_has_its_page_which_is_none_of_its_files(tmp_path: Path, program: Program) -> None:
    command = ("train", "--train", "sample:train", "--valid", "sample:valid", "--base-model", "scratch")
    ended = program(*command, "--output", tmp_path / "model", "--epochs", 1, "--limit-rows", 60, "--progress", "none")
    assert ended.code == 0, ended.err
    model = tmp_path / "model"
    text = Page((model / "report.html").read_text()).text
    assert "A model is trained; it is not yet measured on rows of its own." in text
    assert f"path {model}" in text
    digests = read_model_folder(str(model)).digest, files_digest(str(model))
    assert digests[0] in text
    (model / "report.html").write_text("another")
    assert (read_model_folder(str(model)).digest, files_digest(str(model))) == digests
    ended = program(*command, "--output", model, "--epochs", 1, "--limit-rows", 60)
    assert "done already" in ended.err


# The command


def test_texts_come_from_the_predictions(split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    out = tmp_path / "out"
    assert evaluation_of(program, tiny_model, split, out)[0] == 0
    metrics = json.loads((out / "metrics.json").read_text())
    mistake = {"row": 61, "true": "positive", "predicted": "negative", "confidence": 0.9}
    metrics["evaluation"]["mistakes"] = [mistake, {**mistake, "row": 3}]
    (out / "metrics.json").write_text(json.dumps(metrics))
    texts = [line.split("\t")[0] for line in split.read_text().splitlines()[1:]]
    for more, shown in ((), False), (("--show-texts",), True):
        assert program("report", out / "metrics.json", "--output", tmp_path / "new" / "page.html", *more).code == 0
        text = Page((tmp_path / "new" / "page.html").read_text()).text
        assert (f"61 positive negative 0.900 {' '.join(texts[61].split())} 3 " in text) is shown
        assert (" ".join(texts[3].split()) in text) is shown
    (out / "predictions.parquet").unlink()
    ended = program("report", out / "metrics.json", "--output", tmp_path / "page.html", "--show-texts")
    assert (ended.code, "has no predictions.parquet, where the texts are" in ended.err) == (3, True)
    (out / "predictions.parquet").write_bytes(b"PAR1")
    assert program("report", out / "metrics.json", "--output", tmp_path / "page.html", "--show-texts").code == 3
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("", "is no metrics JSON"),
        ("[]", "is no metrics JSON"),
        ('{"rows": 3}', "is no metrics JSON"),
        ('{"command": "run", "steps": {}}', "tells of a whole run"),
        ('{"command": "score"}', "is not a metrics JSON as this program writes them (KeyError"),
        ('{"command": "evaluate", "evaluation": {"rows": 3}}', "is not a metrics JSON as this program writes them"),
        ('{"command": "score", "rows": NaN}', "is no metrics JSON"),
    ],
)
def test_what_is_no_metrics_json_is_exit_3(content: str | None, said: str, tmp_path: Path, program: Program) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    ended = program("report", tmp_path / "a.json", "--output", tmp_path / "page.html")
    assert (ended.code, said in ended.err) == (3, True), ended.err
    assert not (tmp_path / "page.html").exists()


def test_a_mistake_in_the_command_costs_no_metrics(tmp_path: Path, program: Program) -> None:
    """What `report` reads has the name of what other commands write."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(scored()))
    before = path.read_bytes()
    for rest in ((), ("--output", tmp_path / "page.html", "extra"), ("--output", tmp_path, "--show-texts", "extra")):
        assert program("report", path, *rest).code == 2
        assert path.read_bytes() == before
    assert program("report", path, "--output", tmp_path).code == 2


def test_rows_of_mistakes_that_are_none(tmp_path: Path, program: Program) -> None:
    hostile = {"command": "evaluate", "evaluation": {"mistakes": [{"row": "x"}]}}
    (tmp_path / "a.json").write_text(json.dumps(hostile))
    ended = program("report", tmp_path / "a.json", "--output", tmp_path / "page.html", "--show-texts")
    assert ended.code == 3
    assert "is not a metrics JSON as this program writes them" in ended.err or "predictions.parquet" in ended.err


def test_what_is_published_never_changes(tmp_path: Path, program: Program) -> None:
    out = tmp_path / "out"
    (out / "charts").mkdir(parents=True)
    (out / "_SUCCESS").write_text("{}")
    (tmp_path / "a.json").write_text(json.dumps(scored()))
    for page in ("_report.html", "page.html", "charts/page.html"):
        ended = program("report", tmp_path / "a.json", "--output", out / page)
        assert (ended.code, "which is published and never changes" in ended.err) == (2, True)
        assert not (out / page).exists()


def test_outputs_that_are_none(tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.json").write_text(json.dumps(scored()))
    for output, said in (("s3://bucket/page.html", "written to a local file"), (tmp_path / "a.json", "JSON itself")):
        ended = program("report", tmp_path / "a.json", "--output", output)
        assert (ended.code, said in ended.err) == (2, True)
    (tmp_path / "config.json").write_text("{}")
    for output, said in (("config.json", "is there, and is no page of this program"), ("b.csv", "has a name of data")):
        ended = program("report", tmp_path / "a.json", "--output", tmp_path / output)
        assert (ended.code, said in ended.err) == (2, True)
    assert (tmp_path / "config.json").read_text() == "{}"
    os.mkfifo(tmp_path / "a_pipe")
    ended = program("report", tmp_path / "a.json", "--output", tmp_path / "a_pipe")
    assert (ended.code, "is no ordinary file, and one would be put in its place" in ended.err) == (2, True)
    assert (tmp_path / "a_pipe").is_fifo()
    ended = program("report", tmp_path, "--output", tmp_path / "page.html")
    assert (ended.code, "is a folder" in ended.err) == (3, True)
    failed = {"command": "score", "status": "failed", "exit_code": 7, "error": "disk full <b>", "run": documents.RUN}
    (tmp_path / "a.json").write_text(json.dumps(failed))
    assert program("report", tmp_path / "a.json", "--output", tmp_path / "page.html").code == 0
    assert "It did not end well: failed. disk full <b>" in Page((tmp_path / "page.html").read_text()).text


def test_a_page_with_texts_is_not_one_without() -> None:
    """Nor one of other gates; when it was drawn, and how fast the job was, is no matter."""
    metrics = evaluated()
    marks = {stamp(metrics), stamp(metrics, {}), stamp(metrics, {1: "a"}), stamp({**metrics, "gates": [1]})}
    assert len(marks) == 4
    assert stamp({**metrics, "run": {}, "performance": {}, "headline": {}}) in marks
    page = report_html(metrics).encode()
    assert is_stamped(page, stamp(metrics))
    assert not is_stamped(page[:-10], stamp(metrics))
    assert not is_stamped(None, stamp(metrics))


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], headless=True)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("kind", documents.ALL)
def test_a_page_in_a_real_browser(kind: str, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    texts = {1040: f"rahasia {ALERT} <img src=x onerror=alert(2)>", 7: "W" * 3000}
    shows_texts = kind in ("evaluate", "many")
    path.write_text(report_html(documents.ALL[kind](), texts) if shows_texts else drawn(kind), encoding="utf-8")
    pages = []
    for width, scheme in ((1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")):
        wrong: list[str] = []
        requests: list[str] = []
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda message, wrong=wrong: wrong.append(message.text))
        page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
        page.on("dialog", lambda dialog, wrong=wrong: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request, requests=requests: requests.append(request.url))
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert (wrong, requests) == ([], [path.as_uri()])
        wide, there = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= there
        assert page.locator("script, img").count() == 0
        if shows_texts:
            assert f"rahasia {ALERT} <img src=x onerror=alert(2)>" in page.locator("body").inner_text()
        shot = tmp_path / f"{width}-{scheme}.png"
        page.screenshot(path=shot, full_page=True)
        context.close()
        pages.append(Image.open(shot).convert("RGB"))
    for image in pages:
        low, high = image.convert("L").getextrema()
        assert high - low > 150, "it is not blank"
    day, night = (image.resize((1, 1)).getpixel((0, 0)) for image in pages[:2])
    assert min(day) > 200 > 60 > max(night)


def test_it_is_read_by_day_and_by_night() -> None:
    """Contrasts as WCAG 2 asks for: 4.5 of text, 3 of what is drawn."""
    css = report_html(scored()).partition("<style>")[2].partition("</style>")[0]
    roots = [dict(re.findall(r"--(\w+): (#\w{6})", each)) for each in re.findall(r":root \{(.*?)\}", css, re.DOTALL)]
    assert len(roots) == 3
    for colours in roots:
        for name in ("ink", "faint", "good", "bad", "unsure", "accent", "plain"):
            for ground in ("paper", "soft"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert contrast(colours["second"], colours["paper"]) >= 3
        for cell in ("accent", "second"):
            assert contrast(colours["ink"], blend(colours[cell], colours["paper"], 0.54)) >= 4.5, cell


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def blend(colour: str, ground: str, share: float) -> str:
    pairs = [(int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in pairs)


def test_of_many_labels_the_worst_are_drawn_and_all_are_listed() -> None:
    text = Page(drawn("many")).text
    assert "of 100 labels these have the most mistakes" in text
    assert "F1 of the 20 weakest of 100 labels" in text
    assert "all others" in text
    assert all(f"kategori {number}" in text for number in range(93))
