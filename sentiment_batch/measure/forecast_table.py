"""The `plan` of a metrics JSON -> the table that a person reads before a big run."""

import json
from collections.abc import Callable
from typing import Any

from sentiment_batch.logs import one_line
from sentiment_batch.measure.words import some

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def summary_of(as_json: bool) -> Callable[[dict[str, Any], str | None], str]:
    """What prints a plan: as it is, or as a table."""
    return (lambda metrics, _: json.dumps(metrics, ensure_ascii=False, indent=2)) if as_json else table


def table(metrics: dict[str, Any], output: str | None) -> str:
    """One line for each thing; the figures with all their ends are in the JSON."""
    plan = metrics["plan"]
    lines = [
        ("input", _files(plan["rows"])),
        ("rows", _rows(plan["rows"])),
        ("tokens", _tokens(plan["sample"])),
        ("shares", _shares(plan["sample"])),
        ("shards", _shards(plan["shards"])),
        ("slice", _slice(plan["shards"].get("slice"))),
        ("compute", _compute(plan["compute"], metrics["model"])),
        ("time", _time(plan["time"], plan["calibration"])),
        ("slices", _slices(plan["time"], plan["shards"])),
        ("disk", _disk(plan["disk"], output)),
        *(("warning", text) for text in plan["warnings"]),
    ]
    return "\n".join(f"{name:<10}{one_line(text)}" for name, text in lines if text)


def _files(rows: dict[str, Any]) -> str:
    packed = f", {rows['compressed_files']:,} compressed" if rows["compressed_files"] else ""
    return f"{some(rows['files'], 'file')}{packed}, {size(rows['bytes'])}"


def _rows(rows: dict[str, Any]) -> str:
    return (
        f"{rows['rows']:,}"
        if rows["exact"]
        else f"about {rows['rows']:,} ({_between(rows, '{:,}'.format)}), by samples"
    )


def _tokens(sample: dict[str, Any]) -> str:
    tokens, of = sample["tokens"], "all rows" if sample["is_all"] else f"{sample['rows']:,} rows from everywhere"
    ends = "" if sample["is_all"] else f" ({_between(tokens, '{:,.1f}'.format)})"
    most = f"half up to {tokens['p50']:,}, 95 % up to {tokens['p95']:,}, at most {tokens['max']:,}"
    return f"{tokens['mean']:,.1f} a text{ends}, {most}; of {of}"


def _shares(sample: dict[str, Any]) -> str:
    """Those that are not none; how many texts are distinct in any case."""
    names = ("empty", "null", "rejected", "truncated", "distinct", "unknown_token")
    shares = {name.replace("_", " "): sample[f"{name}_share"] for name in names}
    told = [
        f"{name} {share:.2%}" for name, share in shares.items() if share or (name == "distinct" and share is not None)
    ]
    return ", ".join(told)


def _shards(shards: dict[str, Any]) -> str:
    about, kill = "" if shards["exact"] else "about ", shards["seconds_largest"]
    cost = "" if kill is None else f"; a kill costs {duration(kill)} at most"
    sizes = f"{shards['rows_mean']:,.0f} rows and {size(shards['bytes_mean'])}"
    return f"{about}{shards['count']:,} of {sizes}, the largest of {shards['rows_largest']:,} rows{cost}"


def _slice(mine: dict[str, Any] | None) -> str:
    """What this run would do of it, if not all."""
    return f"{mine['index']}/{mine['of']}: {some(mine['count'], 'shard')}, {mine['rows']:,} rows" if mine else ""


def _compute(compute: dict[str, Any], model: dict[str, Any]) -> str:
    many = f" x {compute['at_once']}" if compute["at_once"] > 1 else ""
    return (
        f"{model['engine']} in {model['dtype']} on {model['device']}{many}, {compute['batch_tokens']:,} tokens a batch"
    )


def _time(time: dict[str, Any], calibration: dict[str, Any]) -> str:
    if time["rows_per_second"] is None:
        return "nothing to label"
    late = {True: ", done by --deadline", False: ", NOT done by --deadline", None: ""}[time.get("in_time")]
    pace = (
        f"at {time['rows_per_second']:,.0f} rows/s; {calibration['texts']:,} texts took {calibration['seconds']:.1f} s"
    )
    return f"{duration(time['seconds'])} ({_between(time, duration)}){late}, {pace}"


def _slices(time: dict[str, Any], shards: dict[str, Any]) -> str:
    """How long as many machines take, as far as there is a shard for each."""
    each = {number: seconds for number, seconds in time["slices"].items() if int(number) <= shards["count"]}
    told = ", ".join(f"{duration(seconds)} on {number}" for number, seconds in each.items())
    return f"{told} such machines" if told else ""


def _disk(disk: dict[str, Any], output: str | None) -> str:
    free = "" if disk["free_bytes"] is None else f"; {size(disk['free_bytes'])} are free for {output}"
    output_bytes, needed = size(disk["output_bytes"]), size(disk["needed_bytes"])
    return f"{output_bytes}, {disk['row_bytes']:,.0f} bytes a row; {needed} at most on the way{free}"


def _between(figures: dict[str, Any], said: Callable[[float], str]) -> str:
    low, high = ("?" if end is None else said(end) for end in (figures["low"], figures["high"]))
    return f"{low} to {high}"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:,.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as people read them: 45 s, 12 min, 3 h 05 min, 4 d 02 h."""
    if seconds < 120:
        return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:,.1f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440:,} d {minutes % 1440 // 60:02d} h"
