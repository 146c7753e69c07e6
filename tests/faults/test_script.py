"""scripts/faults itself: the tiers take the time that README.md says only if every core is at work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "faults"


def executable(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_there_is_a_worker_for_each_core(tmp_path: Path) -> None:
    """Whatever is said of the threads of each: `nproc` counts those of OpenMP where a variable limits them."""
    executable(tmp_path / "scripts" / "setup", "exit 0")
    executable(tmp_path / ".venv" / "bin" / "pytest", f'exec {sys.executable} -m pytest "$@"')
    shutil.copy(SCRIPT, tmp_path / "scripts" / "faults")
    (tmp_path / "tests" / "faults").mkdir(parents=True)
    (tmp_path / "tests" / "faults" / "test_count.py").write_text(
        "import os\n"
        "def test_count():\n"
        "    open('threads', 'w').write(os.environ['OMP_NUM_THREADS'])\n"
        "    open('workers', 'w').write(os.environ['PYTEST_XDIST_WORKER_COUNT'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        [tmp_path / "scripts" / "faults"],
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "threads").read_text() == "1"
    assert int((tmp_path / "workers").read_text()) >= len(os.sched_getaffinity(0))
