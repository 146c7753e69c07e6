"""A metrics JSON -> the small JSON object that a task hands to the next one (Airflow's XCom)."""

import json
import re
from typing import Any

from sentiment_batch.logs import one_line
from sentiment_batch.measure.doubts import LABEL_CHARACTERS

_MOST_BYTES = 8_000  # of the whole; XCom lies in Airflow's database, and is shown on its pages
_ERROR_CHARACTERS = 1_000
_SHARE = re.compile(r"(?:[a-z]+_)?share_(?P<label>.*)", re.DOTALL)


def xcom_text(metrics: dict[str, Any], output: str | None) -> str:
    """`command`, `status`, `exit_code`; `error` if it failed; where the output is; `slice` of one; the headline, flat.

    The headline's figures are left out from where they would make it too large, the shares of labels first; `left_out`
    says how many.
    """
    steps = metrics.get("steps", {})
    ids = {step: each["job_id"] for step, each in steps.items() if "job_id" in each}
    error = one_line(str(metrics.get("error", "")))
    found = {
        **{name: metrics[name] for name in ("command", "status", "exit_code")},
        "error": error if len(error) <= _ERROR_CHARACTERS else f"{error[: _ERROR_CHARACTERS - 3]}...",
        "failed_step": metrics.get("failed_step"),
        "already_done": metrics.get("already_done"),
        "started_at": metrics["run"]["started_at"],
        "ended_at": metrics["run"]["ended_at"],
        "job_id": metrics.get("job_id"),
        "output": output,
        "job_ids": ids,
        "outputs": metrics.get("outputs"),
        "slice": next((each["slice"] for each in (metrics, *steps.values()) if "slice" in each), None),
    }
    told = {name: value for name, value in found.items() if value not in (None, "", {})}
    size, left_out = _bytes(told) + _bytes({"left_out": 999}), 0
    for name, value in sorted(metrics.get("headline", {}).items(), key=lambda item: bool(_SHARE.fullmatch(item[0]))):
        size += _bytes({name: value})
        if size > _MOST_BYTES or name in told or _may_be_review(name):
            left_out += 1
        else:
            told[name] = value
    return _json(told | ({"left_out": left_out} if left_out else {})) + "\n"


def _may_be_review(name: str) -> bool:
    share = _SHARE.fullmatch(name)
    return share is not None and len(share["label"]) > LABEL_CHARACTERS


def _bytes(value: Any) -> int:
    return len(_json(value).encode(errors="backslashreplace"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
