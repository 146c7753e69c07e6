"""A quick look: the labels of a few texts, as a table or as lines of JSON."""

import json
import sys
from typing import BinaryIO

import click

from sentiment_batch.config import PredictOptions
from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.labelling import open_labeller

_SHOWN = 60


def predict(options: PredictOptions) -> None:
    """Label the texts of the command line, or else the lines of standard input, and print them."""
    labeller = open_labeller(options, "text")  # first: a wrong folder is said before anything is typed
    texts = [_checked(text) for text in options.text] or _lines(sys.stdin.buffer)
    predictions = labeller.predict(texts)
    if options.json:
        for text, prediction in zip(texts, predictions, strict=True):
            click.echo(json.dumps({"text": text, **prediction}, ensure_ascii=False))
        return
    rows = [["label", *labeller.labels, "text"]]
    for text, prediction in zip(texts, predictions, strict=True):
        shares = [prediction["probabilities"][label] for label in labeller.labels]
        cells = ["-" if share is None else f"{share:.3f}" for share in shares]
        shown = " ".join(text.split())
        rows.append(
            [prediction["label"] or "-", *cells, shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("a text of the command line is not UTF-8") from None
    return text


def _lines(stream: BinaryIO) -> list[str]:
    lines = []
    for number, line in enumerate(stream, 1):
        try:
            lines.append(line.decode().removesuffix("\n").removesuffix("\r"))
        except UnicodeDecodeError:
            raise InputError(f"standard input, line {number}: not UTF-8; convert it first") from None
    return lines
