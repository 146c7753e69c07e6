"""No decision looks at the clock: it may jump by years between two runs, or during one. Row 41 of the matrix."""

import ast
import os
from pathlib import Path

from faults.jobs import arguments, check_finished, data_files, finish, write_dump
from faults.zygote import Zygote

PACKAGE = Path(__file__).parents[2] / "sentiment_batch"
YEARS = 10 * 365 * 86_400
# What lasts is measured with the monotonic clock. deadline.py asks how long it is until 05:30, once, at the start: on
# that depends whether another part is begun, and nothing of what is in a part.
TELLS_TIME = {"metrics.py", "account.py", "deadline.py"}
WALL_CLOCK = {"time.time", "time.time_ns", "time.localtime", "datetime.now", "datetime.utcnow", "date.today"}


def test_only_what_tells_the_time_asks_for_it() -> None:
    asking = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                if name in WALL_CLOCK:
                    asking.add(path.name)
            if isinstance(node, ast.ImportFrom) and node.module == "time" and node.names[0].name != "monotonic":
                asking.add(f"{path.name}: from time import")
    assert asking == TELLS_TIME


def test_work_from_another_year_is_gone_on_with(zygote: Zygote, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump.tsv", 110)
    (tmp_path / "whole").mkdir()
    finish(zygote, *arguments(dump, tmp_path / "whole" / "out"))
    expected = data_files(tmp_path / "whole" / "out")
    for number, jump in enumerate((-YEARS, -3600, YEARS)):
        place = tmp_path / str(number)
        place.mkdir()
        out, work = place / "out", place / ".out.wip"
        assert zygote.run(*arguments(dump, out), place=str(place), at=70).code == -9
        kept = {path.name: path.stat().st_ino for path in work.glob("part-*")}
        assert kept
        for path in [*work.rglob("*"), work]:
            when = path.stat().st_mtime + jump
            os.utime(path, (when, when))
        finish(zygote, *arguments(dump, out))
        assert {name: (out / name).stat().st_ino for name in kept} == kept
        check_finished(zygote, out, expected)
