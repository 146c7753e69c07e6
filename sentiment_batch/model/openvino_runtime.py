"""OpenVINO without `openvino_telemetry`, which it imports where that is installed, and which tells its maker of it.

Nothing else here imports OpenVINO first: whoever did would have it loaded.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
import openvino  # noqa: E402

__all__ = ["openvino"]
