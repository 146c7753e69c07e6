"""model/folder.py: what a model folder must have, and what it is refused for."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.folder import files_digest, read_model_folder
from sentiment_batch.model.inspection import read_json

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "id2label": {"0": "positif", "1": "netral", "2": "negatif"},
    "label2id": {"positif": 0, "netral": 1, "negatif": 2},
    "max_position_embeddings": 128,
    "vocab_size": 600,
    "pad_token_id": 0,
}
INDEX = "model.safetensors.index.json"
ABSENT = object()


def write_config(folder: Path, **changes: Any) -> None:
    config = {name: value for name, value in {**CONFIG, **changes}.items() if value is not ABSENT}
    (folder / "config.json").write_text(json.dumps(config))


def write_tokenizer(folder: Path, *words: str) -> None:
    vocabulary = {word: number for number, word in enumerate(("<unk>", *words))}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}))


def write_weights(path: Path, *numbers: float, name: str = "weight") -> None:
    tensor = {"dtype": "F64", "shape": [len(numbers)], "data_offsets": [0, 8 * len(numbers)]}
    header = json.dumps({name: tensor}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(numbers)}d", *numbers))


def write_index(folder: Path, *names: Any) -> None:
    """Weights in several files, as large models have them."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    weights = {f"layer.{number}.weight": name for number, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weights}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Whole as far as can be told before a tensor is read."""
    folder = tmp_path / "model"
    folder.mkdir()
    write_config(folder)
    write_tokenizer(folder)
    write_weights(folder / "model.safetensors")
    return folder


def refusal(folder: Path | str) -> str:
    with pytest.raises(ModelRefused) as refused:
        read_model_folder(str(folder))
    return str(refused.value)


def test_what_is_known_of_a_folder(folder: Path) -> None:
    found = read_model_folder(str(folder))
    assert found.path == str(folder)
    assert found.model_type == "bert"
    assert found.labels == ("positif", "netral", "negatif")
    assert (found.max_length, found.vocab_size, found.pad_token_id) == (128, 600, 0)
    assert found.base_model is None


def test_a_folder_that_transformers_wrote(tiny_model: Path) -> None:
    found = read_model_folder(str(tiny_model))
    assert found.labels == ("positive", "neutral", "negative")
    assert found.max_length == 64


def test_labels_are_in_the_order_of_the_logits(folder: Path) -> None:
    names = [f"label {number}" for number in range(12)]
    shuffled = {str(number): names[number] for number in (10, 2, 0, 11, 1, 9, 3, 8, 4, 7, 5, 6)}
    write_config(folder, id2label=shuffled, label2id=ABSENT)
    assert read_model_folder(str(folder)).labels == tuple(names)


# What is missing


def test_no_folder(tmp_path: Path) -> None:
    assert refusal("s3://lake/model") == "s3://lake/model: a model is read from a local folder; copy it there first"
    assert f"no model folder at {tmp_path / 'm'}; make one with: sentiment-batch train" in refusal(tmp_path / "m")
    (tmp_path / "m").write_text("a file")
    assert "no model folder at" in refusal(tmp_path / "m")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder) == f"{folder} has no {name}; is it a folder that `sentiment-batch train` wrote?"


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(folder) == f"{folder} has no model.safetensors; save the model as safetensors"


def test_pickled_weights_are_named_and_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "no model.safetensors (pytorch_model.bin is a pickle, which is not read)" in refusal(folder)


# The configuration


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000])
def test_a_configuration_that_is_no_json(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    assert "config.json cannot be read as JSON" in refusal(folder)


@pytest.mark.parametrize("content", ["[]", "null", '"bert"', json.dumps(CONFIG) + " " * 2**20])
def test_a_configuration_that_is_no_small_object(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert "config.json is not a JSON object of at most 1 MiB" in refusal(folder)


def test_a_configuration_of_one_mebibyte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}" + " " * (2**20 - 2))
    assert read_json(path) == {}


@pytest.mark.parametrize("kind", ["gpt2", "BERT", "", ABSENT, None, 3, ["bert"]])
def test_an_unknown_model_type(folder: Path, kind: Any) -> None:
    write_config(folder, model_type=kind)
    found = None if kind is ABSENT else kind
    assert f"is a model of type {found!r}; known: albert, bert, " in refusal(folder)


@pytest.mark.parametrize("key", ["vocab_size", "max_position_embeddings"])
@pytest.mark.parametrize("value", [ABSENT, None, 0, -1, 1.5, "512", True, [512]])
def test_sizes_that_are_no_positive_whole_numbers(folder: Path, key: str, value: Any) -> None:
    write_config(folder, **{key: value})
    found = None if value is ABSENT else value
    assert f"config.json has {key} = {found!r}, not a positive whole number" in refusal(folder)


@pytest.mark.parametrize("value", [-1, 600, "0"])
def test_a_padding_id_that_the_model_does_not_know(folder: Path, value: Any) -> None:
    write_config(folder, pad_token_id=value)
    assert f"pad_token_id = {value!r}" in refusal(folder)


# Labels


@pytest.mark.parametrize(
    "names",
    [
        ABSENT,
        None,
        ["positif", "negatif"],
        {"1": "positif", "2": "negatif"},
        {"0": "positif", "2": "negatif"},
        {"0": "positif", "01": "negatif"},
        {"positif": 0, "negatif": 1},
    ],
)
def test_labels_that_are_not_numbered_from_0(folder: Path, names: Any) -> None:
    write_config(folder, id2label=names, label2id=ABSENT)
    assert "id2label in config.json does not number its labels from 0" in refusal(folder)


@pytest.mark.parametrize("names", [{}, {"0": "positif"}, {"0": "positif", "1": ""}, {"0": "positif", "1": None}])
def test_fewer_than_two_labels(folder: Path, names: dict[str, Any]) -> None:
    write_config(folder, id2label=names, label2id=ABSENT)
    assert "id2label in config.json must name at least two labels" in refusal(folder)


def test_a_label_that_is_named_twice(folder: Path) -> None:
    write_config(folder, id2label={"0": "positif", "1": "netral", "2": "positif"}, label2id=ABSENT)
    assert "id2label in config.json names a label twice" in refusal(folder)


@pytest.mark.parametrize(
    "numbers",
    [
        {"positif": 0, "netral": 2, "negatif": 1},
        {"positif": 0, "netral": 1},
        {"positif": 0, "netral": 1, "negatif": 2, "campur": 3},
        {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2},
        None,
    ],
)
def test_numbers_and_names_that_contradict_each_other(folder: Path, numbers: Any) -> None:
    write_config(folder, label2id=numbers)
    assert "label2id and id2label in config.json contradict each other" in refusal(folder)


# Weights in several files


def test_weights_in_several_files(folder: Path) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        write_weights(folder / name, name=name)
    write_index(folder, names[1], names[0], names[1])
    before = read_model_folder(str(folder)).digest
    write_weights(folder / names[1], 1.0, name=names[1])
    assert read_model_folder(str(folder)).digest != before
    (folder / names[0]).unlink()
    assert f"{INDEX} names '{names[0]}', which is not a file of the folder" in refusal(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "sub/model.safetensors", "..", ""])
def test_an_index_that_names_what_is_outside(folder: Path, name: str) -> None:
    (folder / "sub").mkdir()
    for place in (folder.parent, folder / "sub"):
        write_weights(place / "model.safetensors")
    write_index(folder, name)
    assert f"{INDEX} names {name!r}, which is not a file of the folder" in refusal(folder)


def test_an_index_that_names_an_absolute_path(folder: Path) -> None:
    outside = folder.parent / "model.safetensors"
    write_weights(outside)
    write_index(folder, str(outside))
    assert "which is not a file of the folder" in refusal(folder)


def test_an_index_that_names_a_pickle(folder: Path) -> None:
    """transformers reads what the index names by its suffix: a `.bin` would be unpickled."""
    (folder / "weights.bin").write_bytes(b"pickle")
    write_index(folder, "weights.bin")
    assert "weights.bin" in refusal(folder)


@pytest.mark.parametrize("weights", [ABSENT, {}, ["model.safetensors"], {"a": 1}])
def test_an_index_that_names_no_files(folder: Path, weights: Any) -> None:
    write_index(folder)
    (folder / INDEX).write_text(json.dumps({} if weights is ABSENT else {"weight_map": weights}))
    assert INDEX in refusal(folder)


# The longest input


@pytest.mark.parametrize(
    ("kind", "padding", "limit"),
    [
        ("bert", 0, 514),
        ("bert", 1, 514),
        ("roberta", 1, 512),
        ("xlm-roberta", 1, 512),
        ("camembert", 1, 512),
        ("roberta", 0, 513),
        ("deberta-v2", 0, 514),
        ("modernbert", 5, 514),
    ],
)
def test_a_padding_id_takes_positions_of_a_roberta(folder: Path, kind: str, padding: int, limit: int) -> None:
    write_config(folder, model_type=kind, max_position_embeddings=514, pad_token_id=padding)
    assert read_model_folder(str(folder)).max_length == limit


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert"])
def test_a_roberta_that_does_not_say_its_padding_id_has_that_of_roberta(folder: Path, kind: str) -> None:
    """1, as in transformers; with 0 a text of 513 tokens would ask for a position that is not there."""
    write_config(folder, model_type=kind, max_position_embeddings=514, pad_token_id=ABSENT)
    found = read_model_folder(str(folder))
    assert (found.max_length, found.pad_token_id) == (512, 1)


def test_the_configuration_that_transformers_writes_for_a_roberta(folder: Path) -> None:
    from transformers import RobertaConfig

    names = dict(enumerate(("positif", "netral", "negatif")))
    config = RobertaConfig(max_position_embeddings=514, id2label=names, label2id={each: n for n, each in names.items()})
    config.save_pretrained(folder)
    found = read_model_folder(str(folder))
    assert (found.max_length, found.pad_token_id) == (512, 1)


def test_the_tokenizers_own_limit_counts_for_nothing(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 16}')
    assert read_model_folder(str(folder)).max_length == 128


# training.json


@pytest.mark.parametrize(("trained", "limit"), [(40, 40), (128, 128), (512, 128)])
def test_a_model_is_used_at_the_length_that_it_was_trained_at(folder: Path, trained: int, limit: int) -> None:
    (folder / "training.json").write_text(json.dumps({"max_length": trained, "base_model": "scratch"}))
    found = read_model_folder(str(folder))
    assert (found.max_length, found.base_model) == (limit, "scratch")


def test_a_training_account_without_a_length(folder: Path) -> None:
    (folder / "training.json").write_text("{}")
    found = read_model_folder(str(folder))
    assert (found.max_length, found.base_model) == (128, None)


def test_a_training_account_that_is_no_json(folder: Path) -> None:
    (folder / "training.json").write_text("{")
    assert "training.json cannot be read as JSON" in refusal(folder)


@pytest.mark.parametrize("value", [0, "long", None])
def test_a_training_account_with_a_length_that_is_none(folder: Path, value: Any) -> None:
    (folder / "training.json").write_text(json.dumps({"max_length": value}))
    assert "max_length" in refusal(folder)


@pytest.mark.parametrize("value", [0.01, 1, 1.4371, 100, None])
def test_the_temperature_that_was_found(folder: Path, value: Any) -> None:
    before = read_model_folder(str(folder))
    (folder / "training.json").write_text(json.dumps({"temperature": value}))
    found = read_model_folder(str(folder))
    assert (before.temperature, found.temperature) == (None, value)
    assert found.digest == before.digest, "no label is another"


@pytest.mark.parametrize(
    "value", ["0", "-1", "0.0099", "100.1", "1e308", "true", '"1.5"', "[1.5]", "{}", "1" + "0" * 400, '"\\u001b[2J"']
)
def test_a_temperature_that_is_none(folder: Path, value: str) -> None:
    (folder / "training.json").write_text(f'{{"temperature": {value}}}')
    said = refusal(folder)
    assert "training.json has temperature = " in said
    assert said.endswith("not a number from 0.01 to 100")
    assert said.isprintable()
    for word in ("NaN", "Infinity", "1e999"):
        (folder / "training.json").write_text(f'{{"temperature": {word}}}')
        assert "training.json cannot be read as JSON" in refusal(folder)


# The digest


def digest(folder: Path) -> str:
    return read_model_folder(str(folder)).digest


def test_the_digest_changes_with_every_file_that_decides_a_label(folder: Path) -> None:
    found = {digest(folder)}
    write_config(folder, layer_norm_eps=1e-5)
    found.add(digest(folder))
    write_tokenizer(folder, "enak")
    found.add(digest(folder))
    write_weights(folder / "model.safetensors", 1.0)
    found.add(digest(folder))
    assert len(found) == 4


@pytest.mark.parametrize("name", ["training.json", "README.md", "tokenizer_config.json", "vocab.txt"])
def test_the_digest_does_not_change_with_other_files(folder: Path, name: str) -> None:
    before = digest(folder)
    (folder / name).write_text("{}")
    assert digest(folder) == before


def test_the_digest_is_of_the_content_and_not_of_the_place(folder: Path) -> None:
    before = digest(folder)
    assert digest(folder.rename(folder.with_name("moved"))) == before


def test_the_digest_knows_which_file_has_which_content(folder: Path) -> None:
    (folder / "a").write_text("1")
    (folder / "b").write_text("2")
    before = files_digest(str(folder), ("a", "b"))
    (folder / "a").write_text("2")
    (folder / "b").write_text("1")
    assert files_digest(str(folder), ("a", "b")) != before


@pytest.mark.parametrize("name", [3, ["scratch"], {"a": 1}, "\x1b[2J", "a\nb", "a" * 5_000])
def test_a_training_account_with_a_base_model_that_is_no_name(folder: Path, name: Any) -> None:
    (folder / "training.json").write_text(json.dumps({"base_model": name}))
    assert "training.json has base_model = " in refusal(folder)
    assert refusal(folder).isprintable()
