"""The program with the stub in the place of the model: `python -m cluster.driver HOOK ARGUMENTS score ...`.

HOOK is one of hooks.py with its arguments between commas: `count,/folder,0.1`. `real` keeps the model,
and all workers are ready before the first shard. SET names what to change in the program before:
`ray_cluster._PATIENCE_SECONDS=2`.
"""

import importlib
import os
import sys
from functools import partial

from faults import stub

from cluster import hooks
from sentiment_batch.cli import program
from sentiment_batch.ray_workers import RayCrew
from sentiment_batch.worker import Rows


def begin_together(crew: RayCrew, count: int) -> None:
    """`RayCrew.begin`, which waits for the first worker alone: it may have done all before the others are ready."""
    begin(crew, count)
    while crew.errands:
        assert not list(crew._heard(Rows(lambda _: None))), "nothing was to be labelled"


begin = RayCrew.begin

if __name__ == "__main__":
    name, *given = sys.argv.pop(1).split(",")
    values = [float(each) if each.replace(".", "", 1).isdigit() else each for each in given]
    for change in filter(None, os.environ.get("SET", "").split(";")):
        place, _, value = change.partition("=")
        module, _, attribute = place.rpartition(".")
        setattr(importlib.import_module(f"sentiment_batch.{module}"), attribute, eval(value))
    if name == "real":
        RayCrew.begin = begin_together  # type: ignore[method-assign]
    else:
        stub.install(partial(getattr(hooks, name), *values) if name else None)
    sys.argv[0] = "sentiment-batch"
    program()
