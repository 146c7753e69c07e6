"""OpenVINO, which tells nobody that it was used: on import it would send a message to its maker, from every job.

Whoever needs `openvino` or `nncf` imports this first.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed

import openvino  # noqa: E402

__all__ = ["openvino"]
