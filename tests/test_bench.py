"""scripts/bench.py: the figures that it reports follow from what it measured, and a whole run on a tiny model."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import SAMPLE, sample_rows

from sentiment_batch import Labeller
from sentiment_batch.model.batches import plan_batches
from sentiment_batch.model.compute import BATCH_TOKENS

SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from bench_ways import roofline  # noqa: E402
from bench_ways.child import Failed, run  # noqa: E402
from bench_ways.dumps import read_texts, with_duplicates, write_long_dump  # noqa: E402
from bench_ways.figures import agreement, medians, ratios, roof_shares, stage_shares  # noqa: E402
from bench_ways.flops import Shape, flops, read_shape  # noqa: E402
from bench_ways.peer import count_of  # noqa: E402
from bench_ways.roofline import Product  # noqa: E402
from bench_ways.table import stages_table, table, ways_table  # noqa: E402
from bench_ways.ways import WAYS, Way, why_not  # noqa: E402

# two layers of 4 with a feed-forward network of 10, three labels; embeddings of 4 need no product
TINY = Shape(layers=2, hidden=4, intermediate=10, embedding=4, labels=3, first_token_only=True)
HEAD = 2 * (4 * 4 + 4 * 3)


def test_flops_of_a_tiny_shape_are_those_counted_by_hand() -> None:
    # a layer, 3 tokens: 4 products of 3x4x4 = 192, scores and sums 2 x 3x3x4 = 72, feed-forward 2 x 3x4x10 = 240
    layer = 2 * (192 + 72 + 240)
    assert flops(np.array([3]), TINY, first_token_only=False) == 2 * layer + HEAD
    # the last one for the first token: keys and values 2 x 3x4x4 = 96, query and output 2 x 4x4 = 32, scores and sums
    # 2 x 3x4 = 24, feed-forward 2 x 4x10 = 80
    assert flops(np.array([3]), TINY, first_token_only=True) == layer + 2 * (96 + 32 + 24 + 80) + HEAD


def test_flops_are_the_sum_over_the_texts() -> None:
    for first_only in (False, True):
        each = [flops(np.array([length]), TINY, first_only) for length in (1, 7, 512)]
        assert flops(np.array([1, 7, 512], np.int32), TINY, first_only) == sum(each)


def test_narrow_embeddings_cost_a_product_for_each_token() -> None:
    narrow = TINY._replace(embedding=2)
    assert flops(np.array([5]), narrow, False) - flops(np.array([5]), TINY, False) == 2 * 5 * 2 * 4


def test_the_shape_is_read_from_the_folder_whatever_its_names(tmp_path: Path, tiny_model: Path) -> None:
    assert read_shape(tiny_model) == Shape(2, 32, 64, 32, 3, first_token_only=True)
    names = {"model_type": "distilbert", "dim": 8, "n_layers": 3, "hidden_dim": 16, "id2label": {"0": "a", "1": "b"}}
    (tmp_path / "config.json").write_text(json.dumps(names))
    assert read_shape(tmp_path) == Shape(3, 8, 16, 8, 2, first_token_only=True)
    (tmp_path / "config.json").write_text(json.dumps({**names, "model_type": "mpnet"}))
    assert read_shape(tmp_path) == Shape(3, 8, 16, 8, 2, first_token_only=False)
    (tmp_path / "config.json").write_text(json.dumps({**names, "model_type": "modernbert"}))
    assert read_shape(tmp_path) is None


def test_medians_are_taken_figure_by_figure() -> None:
    runs = [{"a": a, "stages": {"read": {"seconds": b}}} for a, b in ((3, 1.0), (1, 9.0), (2, 2.0))]
    assert medians(runs) == {"a": 2, "stages": {"read": {"seconds": 2.0}}}
    assert medians([{"roof": None}, {"roof": 1.0}, {"roof": 2.0}]) == {"roof": None}


def test_ratios_are_to_the_faster_baseline_with_and_without_the_start() -> None:
    rates = {"one": (10, 5), "many": (8, 6), "ours": (40, 12)}
    ways: dict[str, dict[str, Any]] = {
        name: {"rows_per_second": rate, "rows_per_second_with_start": with_start}
        for name, (rate, with_start) in rates.items()
    }
    ratios(ways, ("one", "many", "not there"))
    assert (ways["ours"]["ratio"], ways["ours"]["ratio_with_start"]) == (4, 2)
    assert (ways["many"]["ratio"], ways["many"]["ratio_with_start"]) == (0.8, 1)
    del ways["one"], ways["many"]
    ratios(ways, ("one", "many"))
    assert ways["ours"]["ratio"] is None


def test_agreement_counts_rows_with_the_same_label() -> None:
    assert agreement(["a", "b", None, "a"], ["a", "a", None, "b"]) == 0.5
    assert agreement(["a"], None) is None


def test_roof_shares_hold_all_rows_or_what_was_computed_against_the_roof() -> None:
    lengths, computed = np.array([3, 3]), np.array([3])  # one text twice
    nominal, performed = flops(lengths, TINY, False), flops(computed, TINY, True)
    found = roof_shares(2.0, lengths, computed, TINY, 1000.0)
    assert found == {"nominal": nominal / 2000, "performed": performed / 2000}
    assert roof_shares(2.0, lengths, None, TINY, None) == {"nominal": None, "performed": None}


def test_the_fastest_products_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {("a", 1, 100): 0.01, ("a", 1, 10): 0.15, ("b", 1, 100): 0.15, ("a", 2, 100): 0.15, ("a", 2, 10): 0.01}
    calls: list[tuple[str, int, int]] = []

    def products(dtype: str, size: tuple[int, int, int], cores: int) -> Iterator[Product]:
        for which in seconds:
            if which[2] == size[0]:

                def run(which: tuple[str, int, int] = which) -> None:
                    calls.append(which)
                    time.sleep(seconds[which])

                yield Product(*which[:2], run)

    monkeypatch.setattr(roofline, "products", products)
    monkeypatch.setattr(roofline, "SIZES", ((100, 100, 100), (10, 100, 100)))
    found = roofline.roofs("int8", 2, 0.05)
    assert [(each["by"], each["streams"], each["size"][0]) for each in found] == [("a", 1, 100), ("a", 2, 10)]
    fastest = 2 * 100**3 / 0.01  # a sleep may take longer, never less
    assert fastest / 7 < found[0]["flops"] <= fastest
    calls.clear()
    assert fastest / 7 < roofline.again(json.loads(json.dumps(found)), "int8", 2, 0.4) <= fastest
    assert set(calls) == {("a", 1, 100), ("a", 2, 10)}


@pytest.mark.parametrize("dtype", roofline.DTYPES)
def test_a_product_of_each_dtype_has_a_rate(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIZES", ((64, 64, 64),))
    found = roofline.roofs(dtype, 2, 0.01)
    assert {each["streams"] for each in found} == {1, 2}
    assert 0 < roofline.again(found, dtype, 2, 0.01) < 1e13


def test_stage_shares_say_what_is_spent_besides_the_engine() -> None:
    seconds = {"read": 1, "tokenise": 2, "engine": 90, "label": 3, "write": 4}
    shares = stage_shares({name: {"seconds": each} for name, each in seconds.items()}, 100)
    assert shares["besides_engine"] == pytest.approx(0.07)
    assert shares["engine_waits"] == pytest.approx(0.1)


def test_a_table_is_markdown_of_even_columns() -> None:
    assert table(["way", "rows/s"], [["a", "1.0"], ["bcde", "1,000.0"]]).split("\n") == [
        "| way  |  rows/s |",
        "| ---- | ------: |",
        "| a    |     1.0 |",
        "| bcde | 1,000.0 |",
    ]


def test_what_is_not_known_is_a_dash() -> None:
    line = ways_table({"ours": {"rows_per_second": 1234.5, "ratio": None, "padding_share": 0.0125}}).split("\n")[2]
    assert [cell.strip() for cell in line.split("|")][1:4] == ["ours", "1,234.5", "-"]
    assert "1.2 %" in line
    assert stages_table({"peer": {}}) == ""


def test_a_way_that_the_program_or_the_environment_lacks_says_so() -> None:
    assert why_not(WAYS[0]) is None
    assert "--engine quantum" in str(why_not(Way("x", "float32", engine="quantum")))
    assert "--dtype int1" in str(why_not(Way("x", "int1", engine="torch")))
    assert "scripts/setup bench" in str(why_not(Way("x", "int8", "x", needs="no_such_package")))


def test_dumps_hold_distinct_texts_and_the_share_of_repeats(tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("".join(f"{text}\tlabel\n" for text in [*"abcdefgh", "a", " ", ""]))
    texts = read_texts(str(path), ("text", "label"), "text")
    assert sorted(texts) == list("abcdefgh")
    assert texts == read_texts(str(path), ("text", "label"), "text") != sorted(texts)
    dump = with_duplicates(texts, 0.25)
    assert len(dump) == 8
    assert len(set(dump)) == 6


def test_a_long_dump_has_every_text_in_turn_and_none_twice(tmp_path: Path) -> None:
    write_long_dump(["a", "b", "c"], 10_001, tmp_path / "long.parquet")
    table = pq.read_table(tmp_path / "long.parquet")
    assert table.column("id").to_pylist() == list(range(10_001))
    texts = table.column("text").to_pylist()
    assert len(set(texts)) == 10_001
    assert texts[9_999:] == ["9999 a", "10000 b"]


def test_the_tokens_of_each_batch_are_counted_however_the_model_is_given_them() -> None:
    import torch

    class Model(torch.nn.Module):
        def forward(self, batch: object = None, attention_mask: object = None) -> None:
            pass

    model, seen = Model(), []
    count_of(model, lambda tokens, padded: seen.append((tokens, padded)))
    model(attention_mask=torch.tensor([[1, 1, 1], [1, 0, 0]]))
    model({"attention_mask": torch.tensor([[1.0, 0.0]])})
    assert seen == [(4, 6), (1, 2)]


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPTS / "bench.py", *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_a_whole_run_on_a_tiny_model(tiny_model: Path, tmp_path: Path) -> None:
    arguments = ["--model", tiny_model, "--texts", SAMPLE / "valid.tsv", "--rows", 40, "--rounds", 1]
    arguments += ["--ways", "pipeline-1,torch-float32", "--roofline-seconds", 0, "--json", tmp_path / "bench.json"]
    arguments += ["--work", tmp_path / "work"]
    ended = bench(*arguments)
    assert ended.returncode == 0, ended.stderr
    result = json.loads((tmp_path / "bench.json").read_text())
    (compared,) = result["compared"]
    assert (compared["rows"], compared["failed"]) == (40, {})
    ours, peer = compared["ways"]["torch-float32"]["median"], compared["ways"]["pipeline-1"]["median"]
    assert peer["ratio"] == 1
    assert ours["rows_per_second"] == pytest.approx(40 / ours["label_seconds"])
    assert ours["seconds"] == pytest.approx(ours["label_seconds"] + ours["start_seconds"])
    assert set(ours["stages"]) == {"read", "tokenise", "engine", "label", "write"}
    assert ours["peak_bytes"] > 10**8
    assert ours["roofline_share"] is ours["engine_alone"]["nominal"] is None
    assert (peer["padding_share"], ours["agreement"]) == (0, 1)
    rows = Labeller(str(tiny_model)).prepare(pq.read_table(tmp_path / "work" / "dump.parquet").to_batches()[0])
    lengths = rows.tokens.lengths
    assert compared["tokens"] == lengths.sum()
    computed = sum(len(batch.rows) * batch.width for batch in plan_batches(lengths, BATCH_TOKENS["cpu"]))
    assert ours["padding_share"] == pytest.approx(1 - lengths.sum() / computed, abs=1e-4)
    lines = [line.split("|")[1].strip() for line in ended.stdout.split("\n") if line.startswith("| ")]
    assert lines.count("torch-float32") == 2
    assert lines.count("pipeline-1") == 1


def test_an_unknown_way_is_named_with_those_that_there_are(tiny_model: Path) -> None:
    ended = bench("--model", tiny_model, "--ways", "pipeline-1,quantum")
    assert ended.returncode == 2
    assert "no way 'quantum'; there are: pipeline-1" in ended.stderr


def test_a_model_that_is_not_there_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    ended = bench("--model", tmp_path / "none")
    assert ended.returncode == 1
    assert ended.stderr.split("\n")[-2].startswith("error: no model folder at ")
    assert ended.stdout == ""


def test_a_program_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"^bench_ways.random_model: exit 2: .*unrecognized arguments: --nothing$"):
        run(["bench_ways.random_model", "1x1", "like", "output", "--nothing"], tmp_path / "log")


def test_a_text_column_that_is_not_there_is_one_line(tiny_model: Path) -> None:
    ended = bench("--model", tiny_model, "--texts", SAMPLE / "valid.tsv", "--text-column", "review")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "review" in ended.stderr


def test_the_sample_has_texts_for_a_run_without_any() -> None:
    assert len(read_texts("sample:valid", (), "text")) == len({text for text, _ in sample_rows("valid")})


def test_the_start_of_each_command_is_timed_beside_what_cannot_be_done_in_less(
    optimized_model: Path, tmp_path: Path
) -> None:
    arguments = ("--texts", SAMPLE / "valid.tsv", "--rounds", 1, "--work", tmp_path, "--json", tmp_path / "start.json")
    ended = bench("start", "--model", optimized_model, *arguments)
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "start.json").read_text())["start"]
    assert all(len(each["runs"]) == 1 and each["seconds"] == each["runs"][0] > 0 for each in found.values())
    weights = found["import PyTorch and transformers, load the weights"]["seconds"]
    assert found["torch, 32 rows"]["ratio"] == pytest.approx(found["torch, 32 rows"]["seconds"] / weights)
    assert found["auto, 1,000 rows"]["ratio"] > 0
    assert {"--help", "openvino, 32 rows", "pipeline, 1,000 rows"} <= found.keys()
    assert all(f"| {name} " in ended.stdout for name in found)
