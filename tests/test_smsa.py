"""The whole of it on real reviews, where they are: a model from nothing, checked by transformers and scikit-learn."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMSA, Program, needs_smsa
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

pytestmark = needs_smsa

SPLIT = SMSA / "valid_preprocess.tsv"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sentiment_batch.config import TrainOptions
    from sentiment_batch.train import train

    folder = tmp_path_factory.mktemp("smsa")
    options = TrainOptions(
        train=(str(SMSA / "train_preprocess.tsv"),),
        valid=str(SPLIT),
        columns=("text", "label"),
        output=str(folder / "model"),
        base_model="scratch",
        epochs=1,
        limit_rows=4000,
        progress="none",
    )
    metrics = train(options)
    assert metrics["headline"]["F1"] > 0.6
    return folder / "model"


def test_transformers_gives_every_row_the_same_label(model: Path, tmp_path: Path, program: Program) -> None:
    from transformers import pipeline

    ended = program(
        *("score", SPLIT, "--columns", "text,label", "--model", model, "--output", tmp_path / "out"),
        *("--label-column", "label", "--dtype", "float32"),
    )
    assert ended.code == 0, ended.err
    frame = pd.read_parquet(tmp_path / "out")
    classify = pipeline("text-classification", model=str(model), top_k=None)
    theirs = classify(frame["text"].tolist(), truncation=True)
    assert len(theirs) == len(frame) == 1260
    for row, their in zip(frame.to_dict("records"), theirs, strict=True):
        assert row["predicted_label"] == max(their, key=lambda each: each["score"])["label"]
        for each in their:
            assert row[f"prob_{each['label']}"] == pytest.approx(each["score"], abs=1e-4)
    metrics = json.loads((tmp_path / "out" / "_metrics.json").read_text())
    true, predicted = frame["label"], frame["predicted_label"]
    kind = {"average": "macro", "zero_division": 0}
    assert metrics["headline"]["ACC"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)
    assert metrics["headline"]["F1"] == pytest.approx(f1_score(true, predicted, **kind), abs=1e-12)
    assert metrics["headline"]["REC"] == pytest.approx(recall_score(true, predicted, **kind), abs=1e-12)
    assert metrics["headline"]["PRE"] == pytest.approx(precision_score(true, predicted, **kind), abs=1e-12)
