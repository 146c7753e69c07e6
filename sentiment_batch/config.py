"""Every option of every command, with its default, once.

A command's options are the fields of one frozen dataclass. `cli.py` makes the flags, the environment variables and the
keys of the TOML file from them, so that all three always agree; Python callers fill in the dataclass itself.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from sentiment_batch.deadline import deadline_of
from sentiment_batch.errors import UsageError
from sentiment_batch.shard_slice import slice_of

_MAX_DROP = 0.01
RAY_HERE = "local"  # --ray: a cluster of this host alone

Format = Literal["auto", "tsv", "csv", "parquet"]
Device = str
Dtype = Literal["auto", "float32", "bfloat16", "float16", "int8"]

_LARGEST = 2**63 - 1
_SEEDS = 2**32  # as many as NumPy's old generator, which scikit-learn uses, can begin with


def option(default: Any = MISSING, *, help: str, **settings: Any) -> Any:
    """A dataclass field that is also a command-line option; without a default it is required.

    Settings: `metavar`, `minimum` and `maximum` (the smallest and the largest number taken), `argument` (given by
    position, not by a flag), `commas` (one flag with values between commas), `first` (read before the others).
    """
    return field(default=default, metadata={"help": help, **settings})


def misfit(number: float, settings: Mapping[str, Any]) -> str | None:
    """Why an option of these settings does not take the number, if it does not: inf and nan none does."""
    if isinstance(number, float) and not math.isfinite(number):
        return f"{number} is not a finite number"
    if number < settings.get("minimum", number):
        return f"{number} is below {settings['minimum']}"
    if number > (largest := settings.get("maximum", math.inf if isinstance(number, float) else _LARGEST)):
        return f"{number} is above {largest}"
    return None


def words_beside_numbers(kind: Any) -> tuple[str, ...]:
    """The words that an option takes in the place of a number, by its type: `int | Literal["auto"]`."""
    return tuple(word for each in get_args(kind) if get_origin(each) is Literal for word in get_args(each))


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """Options that are what they say they are, whether they come from the command line or from Python."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            kind: Any = each.type
            if get_origin(kind) is Literal and value not in get_args(kind):
                raise UsageError(f"{each.name}: {value!r} is none of {', '.join(get_args(kind))}")
            if isinstance(value, str) and (words := words_beside_numbers(kind)) and value not in words:
                raise UsageError(f"{each.name}: {value!r} is no number, and not {' or '.join(words)}")
            if value == "" and each.default != "":  # what a script makes of a variable that is not set
                raise UsageError(f"{each.name} is empty; give it a value")
            if isinstance(value, int | float) and (wrong := misfit(value, each.metadata)):
                raise UsageError(f"{each.name}: {wrong}")


@dataclass(frozen=True, kw_only=True)
class LogOptions(_Checked):
    progress: Literal["auto", "bar", "log", "none"] = option(
        "auto", help="Progress on standard error; auto is a bar on a terminal and a line every 30 seconds elsewhere."
    )
    log_format: Literal["text", "json"] = option("text", help="Log lines as text or as one JSON object each.")
    log_file: str | None = option(
        None,
        help="Append log lines and summary to this local file. What is printed is then only what is to be mailed: "
        "warnings, errors, and one line at the end, or none if it was done already.",
        metavar="FILE",
    )
    debug: bool = option(False, help="Show the traceback of an error.")


@dataclass(frozen=True, kw_only=True)
class MetricsOptions(_Checked):
    """Local files that say how a job ended, each written whole, on failure too.

    They are read before the other options, so that they get what is wrong with those.
    """

    metrics: str | None = option(
        None, help="Write the metrics JSON to this local file, on failure too.", metavar="FILE", first=True
    )
    prometheus: str | None = option(
        None,
        help="Write the figures as a Prometheus textfile, for node_exporter's collector (NAME.prom), on failure too.",
        metavar="FILE",
        first=True,
    )
    xcom: str | None = option(
        None,
        help="Write status and headline as one small JSON object, for Airflow (/airflow/xcom/return.json), on failure "
        "too.",
        metavar="FILE",
        first=True,
    )


@dataclass(frozen=True, kw_only=True)
class ReadOptions(_Checked):
    format: Format = option(
        "auto",
        help="Format of the inputs; auto goes by the names: .parquet or .pq; .tsv, .tab or .csv, also packed (.gz, "
        ".zst or .bz2).",
    )
    columns: tuple[str, ...] = option(
        (), help="Column names of a TSV or CSV without a header line, between commas.", commas=True
    )
    text_column: str = option("text", help="Column that holds the text.")
    limit_rows: int | None = option(None, help="Use only the first N rows, of all inputs together.", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_column == getattr(self, "label_column", None):  # of those commands that have one
            raise UsageError(f"--text-column and --label-column are both {self.text_column!r}: name two columns")


@dataclass(frozen=True, kw_only=True)
class ComputeOptions(_Checked):
    """How a model labels a text."""

    max_length: int | None = option(None, help="Cut texts to N tokens. [default: what the model allows]", minimum=3)
    batch_tokens: int | None = option(None, help="Tokens of a batch, padding included. [default: by device]", minimum=1)
    engine: Literal["auto", "torch", "openvino"] = option(
        "auto",
        help="What runs the model; auto is openvino on a CPU, if it is installed and `optimize` was run, else torch.",
    )
    device: Device = option("auto", help="auto, cpu, cuda or cuda:N.")
    dtype: Dtype = option(
        "auto",
        help="auto is bfloat16 where the device computes in it, else float16 on a GPU, float32 on a CPU; and int8 on a "
        "CPU where `optimize` made it.",
    )
    calibrated: bool = option(
        False,
        help="Divide the logits by the temperature that `train` found on its validation split. No label changes; "
        "confidences come nearer to how often they are right.",
    )


@dataclass(frozen=True, kw_only=True)
class CacheOptions(_Checked):
    cache_rows: int = option(
        100_000,
        help="Texts, of those seen last in a part (score) or a split (evaluate), that are not labelled again when they "
        "come again; each takes some 300 bytes. 0 is none. Another number is another job.",
        minimum=0,
        maximum=10_000_000,
    )


@dataclass(frozen=True, kw_only=True)
class LabelOptions(ComputeOptions):
    """What a `Labeller` takes: everything that decides which label a text gets."""

    model: str = option(help="Local model folder, as `train` writes it.", metavar="DIR")
    prefix: str = option("", help="Put before the name of every added column.")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(ReadOptions, CacheOptions, LabelOptions, MetricsOptions, LogOptions):
    input: tuple[str, ...] = option(help="Files, globs, folders or URLs, all of one format.", argument=True)
    output: str = option(
        help="Folder or URL to publish; it must not exist, or be empty, or hold this same job.", metavar="OUT"
    )
    keep_columns: tuple[str, ...] = option(
        ("all",), help="Input columns to keep: all, none, or names between commas.", commas=True
    )
    label_column: str | None = option(None, help="Also score the labels in this column, in the same pass.")
    chunk_rows: int = option(
        32_768,
        help="Rows that are labelled together. Batches are cut from them, so another number is another job.",
        minimum=1,
    )
    shard_rows: int = option(
        131_072,
        help="Rows of a part at most: what a kill can cost. A compressed file is one part. Another number is another "
        "job.",
        minimum=1,
    )
    shard_bytes: int = option(
        256 * 2**20, help="Input bytes of a part at most. Another number is another job.", minimum=1
    )
    max_reject_rate: float = option(
        0.01,
        help="Publish nothing if more than this share of the rows, from 0 to 1, has no label for a fault in them.",
        minimum=0,
        maximum=1,
    )
    workers: int | Literal["auto"] = option(
        "auto",
        help="Processes that label, each a shard at a time; auto is one for each GPU. On a CPU, where one keeps all "
        "cores busy, N share them. Whatever the number, it is the same job.",
        metavar="N",
        minimum=1,
    )
    ray: str | None = option(
        None,
        help="Have the workers run on Ray: `local` is this host alone, `auto` or HOST:PORT a cluster that it is a node "
        "of. --workers auto is then one for each GPU of the cluster or, without GPUs, for each node. It is the same "
        "job. Needs the extra `ray`.",
        metavar="ADDRESS",
    )
    deadline: str | None = option(
        None,
        help="Stop between two parts, with exit code 10, rather than begin one that will not be done by then: HH:MM, "
        "when the clock shows it next, or a duration such as 90m or 2h30m. The same command again goes on.",
        metavar="WHEN",
    )
    shard_slice: str | None = option(
        None,
        help="Label only each Nth part, from the Ith on, I from 1 to N: 2/8. Other runs of the job label the others, "
        "at the same time or not, and the one that finds all parts sealed publishes. JOB_COMPLETION_INDEX of "
        "Kubernetes counts from 0: $((JOB_COMPLETION_INDEX + 1))/8.",
        metavar="I/N",
    )
    since: str | None = option(
        None,
        help="A finished output of an earlier dump: rows that it has with the same --key and the same text keep its "
        "prediction, under the same model, and the rest is scored.",
        metavar="PREVIOUS_OUT",
    )
    key: tuple[str, ...] = option(
        (), help="Columns that tell rows apart, for --since: names between commas.", commas=True, metavar="COLUMNS"
    )
    overwrite: bool = option(False, help="Replace an output that belongs to another job.")

    def __post_init__(self) -> None:
        super().__post_init__()
        deadline_of(self.deadline)
        if self.shard_slice is not None:
            slice_of(self.shard_slice)
        if self.since is not None and not self.key:
            raise UsageError("--since needs the columns that tell rows apart: give --key, such as --key id")
        if self.key and self.since is None:
            raise UsageError("--key tells the rows of --since apart: give --since with an earlier output")
        if self.ray is not None:
            _check_ray(self.ray, self.device)


def _check_ray(address: str, device: str) -> None:
    if address.startswith("ray://"):
        raise UsageError(
            f"--ray {address}: a job of hours must not hang on Ray Client; run this on a node of the cluster (ray job "
            "submit) with --ray auto"
        )
    if address not in (RAY_HERE, "auto") and not re.fullmatch(r"[^\s/]+:\d{1,5}", address):
        raise UsageError(f"--ray {address}: give local, auto or HOST:PORT")
    if ":" in device:
        raise UsageError(f"--ray gives each worker a GPU of its own: give --device cuda, not --device {device}")


@dataclass(frozen=True, kw_only=True)
class PublishOptions(MetricsOptions, LogOptions):
    output: str = option(help="Output of slices of `score`: a folder or a URL.", argument=True)
    max_reject_rate: float | None = option(
        None, help="In the place of the one that the first slice had.", minimum=0, maximum=1
    )
    overwrite: bool = option(
        False,
        help="Replace an output that belongs to another job, though the slices were not to, or it cannot be seen "
        "any more whether they were: all but the last rename was done when the last one was killed.",
    )


@dataclass(frozen=True, kw_only=True)
class PlanOptions(ScoreOptions):
    """Those of the job that is planned, and a few for the plan."""

    output: str | None = option(  # type: ignore[assignment]
        None, help="Where `score` is to publish: the free disk there is looked at, and nothing else.", metavar="OUT"
    )
    seconds: float = option(8.0, help="Calibrate for about so long.", metavar="X", minimum=0.1, maximum=3_600)
    exact: bool = option(
        False, help="Read text files to their end to count their rows, as `score` does, where samples would do."
    )
    json: bool = option(False, help="Print the metrics JSON instead of the table.")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ReadOptions, CacheOptions, LabelOptions, MetricsOptions, LogOptions):
    data: tuple[str, ...] = option(help="Labelled files, globs, folders or URLs; once or more.", metavar="FILE")
    output: str = option(help="Folder or URL to publish.", metavar="EVAL")
    label_column: str = option("label", help="Column that holds the true label.")
    gate: tuple[str, ...] = option(
        (),
        help='A condition that must hold, in quotes, once or more: "macro_f1>=0.85", or "recall[LABEL]>=0.8"; with >=, '
        "<=, > or <. Figures: accuracy, macro_f1, macro_precision, macro_recall, from 0 to 1, and rows; of a label "
        "precision, recall, f1.",
        metavar="CONDITION",
    )
    on_undecidable: Literal["fail", "pass"] = option(
        "fail",
        help="What becomes of a gate whose bound lies in the 95 % interval of its figure: too few rows to say.",
    )
    gate_baseline: str | None = option(
        None,
        help="An earlier evaluation, its folder or URL, than which macro F1 may be lower by --max-drop at most; held "
        "against it row by row where both are of the same rows.",
        metavar="EVAL",
    )
    max_drop: float = option(
        _MAX_DROP, help="By how much macro F1 may be below that of --gate-baseline.", metavar="X", minimum=0, maximum=1
    )
    slice: tuple[str, ...] = option(
        (),
        help="Also measure the rows of each value of this column, such as the country; at most 100 values. Once or "
        "more.",
        metavar="COLUMN",
    )
    show_texts: bool = option(
        False, help="Show the texts of the most confident mistakes in the report: a customer's words are in it then."
    )
    overwrite: bool = option(False, help="Replace the evaluation of another job.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_column in self.slice:
            raise UsageError(f"--slice {self.text_column} is the column of the texts; slice by one of few short values")
        if self.label_column in self.slice:
            raise UsageError(f"--slice {self.label_column} is the column of the labels, whose figures are there anyhow")
        if self.gate_baseline is None and self.max_drop != _MAX_DROP:
            raise UsageError("--max-drop needs an earlier evaluation: give --gate-baseline")


@dataclass(frozen=True, kw_only=True)
class CompareOptions(ReadOptions, CacheOptions, ComputeOptions, MetricsOptions, LogOptions):
    old: str = option(
        help="What is in use: a local model folder, or a finished output of `score` or `evaluate`, a folder or a URL.",
        argument=True,
    )
    new: str = option(help="What may take its place: of the same kind as OLD.", argument=True)
    output: str = option(help="Folder or URL to publish.", metavar="DIR")
    data: tuple[str, ...] = option(
        (),
        help="What the two models are to label: files, globs, folders or URLs; once or more. Two outputs have it done.",
        metavar="FILE",
    )
    label_column: str | None = option(
        None,
        help="Column that holds the true label: of the data, or of one of the outputs. With it quality is measured.",
    )
    changes: int = option(
        1_000, help="Keep the N flipped rows that changed most.", metavar="N", minimum=0, maximum=100_000
    )
    show_texts: bool = option(False, help="Put the texts of these rows beside them.")
    gate: tuple[str, ...] = option(
        (),
        help='A condition that must hold, in quotes, once or more: "flip_rate<=0.05", or, of the rows that OLD labels '
        'so, "flip_rate[LABEL]<=0.1"; with >=, <=, > or <. Figures: flip_rate, from 0 to 1, and rows; with '
        "--label-column accuracy_difference and macro_f1_difference, from -1 to 1: NEW's less OLD's.",
        metavar="CONDITION",
    )
    on_undecidable: Literal["fail", "pass"] = option(
        "fail",
        help="What becomes of a gate whose bound lies in the 95 % interval of its figure: too few rows to say.",
    )
    overwrite: bool = option(False, help="Replace the comparison of another job.")


@dataclass(frozen=True, kw_only=True)
class ReportOptions(LogOptions):
    metrics: str = option(help="Metrics JSON of train, score, evaluate, compare or drift.", argument=True)
    output: str = option(help="Local HTML file to write, in the place of an older one.", metavar="FILE")
    show_texts: bool = option(
        False, help="Show the texts of the most confident mistakes, from the predictions.parquet beside METRICS."
    )


@dataclass(frozen=True, kw_only=True)
class PredictOptions(LabelOptions, LogOptions):
    text: tuple[str, ...] = option((), help="Texts; without any, the lines of standard input.", argument=True)
    json: bool = option(False, help="One JSON object a line instead of a table.")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(ReadOptions, MetricsOptions, LogOptions):
    train: tuple[str, ...] = option(
        help="Labelled files, globs, folders or URLs to learn from, or sample:train; once or more.", metavar="FILE"
    )
    valid: str = option(help="Labelled file to choose the best epoch by, or sample:valid.", metavar="FILE")
    output: str = option(help="Local model folder to write.", metavar="DIR")
    base_model: str = option(
        "indobenchmark/indobert-base-p1", help="A Hugging Face Hub id, a local folder, or scratch."
    )
    revision: str | None = option(None, help="Commit of the base model on the Hub.", metavar="SHA")
    label_column: str = option("label", help="Column that holds the label.")
    recipe: Literal["default", "indonlu"] = option(
        "default", help="default: AdamW, warm-up, linear decay. indonlu: Adam, StepLR, as IndoNLU publishes it."
    )
    epochs: int | None = option(None, help="Passes over the data. [default: by recipe]", minimum=1)
    learning_rate: float | None = option(None, help="Highest learning rate. [default: by recipe]", minimum=0)
    batch_size: int | None = option(None, help="Texts of a batch. [default: by recipe]", minimum=1)
    batch_tokens: int = option(16_384, help="Tokens of a batch at most, padding included.", minimum=1)
    max_length: int = option(512, help="Cut texts to N tokens, or to what the base model allows.", minimum=3)
    max_grad_norm: float | None = option(
        None, help="Clip gradients to this norm; 0 is no clipping. [default: by recipe]", minimum=0
    )
    early_stop: int | None = option(
        None, help="Stop after N epochs without a better one; 0 is never. [default: by recipe]", minimum=0
    )
    metric: Literal["macro_f1", "accuracy", "macro_precision", "macro_recall"] = option(
        "macro_f1", help="What the best epoch is chosen by."
    )
    class_weights: Literal["none", "balanced"] = option("none", help="balanced weighs rare labels up.")
    seed: int = option(42, help="Seed of everything random.", minimum=0, maximum=_SEEDS - 1)
    device: Device = option("auto", help="auto, cpu, cuda or cuda:N.")
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto", help="Of the arithmetic; the weights are float32. auto is bfloat16 where the device has it."
    )
    limit_rows: int | None = option(None, help="Use only the first N rows of --train, and of --valid.", minimum=1)
    overwrite: bool = option(False, help="Replace another model in DIR.")


@dataclass(frozen=True, kw_only=True)
class OptimizeOptions(ReadOptions, MetricsOptions, LogOptions):
    model: str = option(help="Local model folder, to which the graphs are added.", metavar="DIR")
    calibration: tuple[str, ...] = option(
        (), help="Texts to calibrate int8 by: files, globs, folders or URLs; once or more.", metavar="FILE"
    )
    valid: str | None = option(None, help="Labelled file to judge int8 by.", metavar="FILE")
    label_column: str = option("label", help="Column of --valid that holds the true label.")
    max_drop: float = option(
        0.005, help="How much macro F1 may drop from float32 to int8.", metavar="X", minimum=0, maximum=1
    )
    overwrite: bool = option(False, help="Make the graphs again, and measure them on this machine.")

    @property
    def output(self) -> str:
        """Where the graphs go."""
        return self.model


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(MetricsOptions, LogOptions):
    output: str = option(help="Output of `score`: a folder or a URL.", argument=True)
    input: tuple[str, ...] = option(
        (),
        help="Where the inputs lie now, if they moved: files, a folder or a pattern, in their order; once or more.",
        metavar="FILE",
    )
    skip_inputs: bool = option(False, help="Look at the output alone: the inputs are gone.")


@dataclass(frozen=True, kw_only=True)
class DriftOptions(MetricsOptions, LogOptions):
    night: str = option(
        help="What is looked at: an output of `score`, a folder or a URL, or its metrics JSON.", argument=True
    )
    before: tuple[str, ...] = option(
        (),
        help="What it is compared with: outputs of earlier nights, or of `evaluate`, or their metrics JSON.",
        argument=True,
    )
    model: str | None = option(
        None, help="Also compare with the split by which this model was chosen when it was trained.", metavar="DIR"
    )
    gate: tuple[str, ...] = option(
        (),
        help='A condition that must hold, in quotes, once or more: "psi[tokens]<=0.2", "jensen_shannon[labels]<=0.05"; '
        'of tokens, unknown_share, confidence, labels, or of all: "psi<=0.25".',
        metavar="CONDITION",
    )
    on_undecidable: Literal["fail", "pass"] = option(
        "fail", help="What becomes of a gate that is not met by no more than chance explains at so few rows."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.before and self.model is None:
            raise UsageError(
                "nothing to compare the night with; give earlier nights behind it, or --model with the model that "
                "labelled it"
            )


@dataclass(frozen=True, kw_only=True)
class SchemaOptions(_Checked):
    """There are none."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(MetricsOptions, LogOptions):
    job: str = option(
        help="TOML file with one or more of the tables train, optimize, evaluate and score.", argument=True
    )
    set: tuple[str, ...] = option(
        (),
        help='Override a key, such as score.output=labelled/2026-01-31, or with a list: evaluate.gate=["rows>=100"]; '
        "once or more.",
        metavar="TABLE.KEY=VALUE",
    )


COMMANDS: dict[str, type] = {
    "train": TrainOptions,
    "optimize": OptimizeOptions,
    "plan": PlanOptions,
    "score": ScoreOptions,
    "publish": PublishOptions,
    "evaluate": EvaluateOptions,
    "compare": CompareOptions,
    "predict": PredictOptions,
    "run": RunOptions,
    "verify": VerifyOptions,
    "drift": DriftOptions,
    "schema": SchemaOptions,
    "report": ReportOptions,
}


STEPS = ("train", "optimize", "evaluate", "score")  # the tables of a job file, in the order in which they are done


def option_fields(options: type) -> list[Field[Any]]:
    """The options of a command, in the order of its help: what it needs first, then its own before what is shared."""
    owned = [list(vars(each).get("__annotations__", ())) for each in options.__mro__]
    place = {name: number for number, names in enumerate(owned) for name in reversed(names)}
    return sorted(fields(options), key=lambda each: (each.default is not MISSING, place[each.name]))


def read_job(path: str | Path) -> dict[str, dict[str, Any]]:
    """The tables of a TOML file: {command: {option: value}}.

    Raises `UsageError` for a file that is missing or not TOML, and for a table or key that no command knows.
    """
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    for table, values in tables.items():
        if table not in STEPS or not isinstance(values, dict):
            raise UsageError(f"{path}: [{table}] is not a table of a job; known: {', '.join(STEPS)}")
        of_all = [each.name for each in fields(LogOptions)]
        known = [each.name for each in option_fields(COMMANDS[table]) if each.name not in of_all]
        for key in values:
            if key in of_all:
                raise UsageError(f"{path}: [{table}] has {key}, which is of the whole run: give it as --{key} to `run`")
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                raise UsageError(
                    f"{path}: [{table}] has no key {key!r}" + (f"; did you mean {close[0]}?" if close else "")
                )
    return tables
