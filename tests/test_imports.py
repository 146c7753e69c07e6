"""The rooms import one way (errors, config <- read, model, write, measure <- jobs <- cli), and imports are free."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sentiment_batch"
BASE = {"errors", "config", "stop", "ahead", "cores", "deadline", "disk", "logs", "parameters", "remote", "shard_slice"}
ROOMS = ("read", "model", "write", "measure")
HEAVY = {"torch", "transformers"}
MAY_BE_HEAVY = {
    "training.py",
    "base.py",
    "checkpoint.py",
    "conversion.py",
    "first_token.py",
    "fit.py",
    "optimizing.py",
    "saved.py",
    "scratch.py",
    "tensors.py",
    "torch_engine.py",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[str]:
    """Every module that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [node.module or "", *(f"{node.module}.{name.name}" for name in node.names)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_lies_below_it(path: Path) -> None:
    room = path.parent.name if path.parent != PACKAGE else ""
    ours = {
        parts[1]
        for name in imports(path)
        if (parts := name.split("."))[0] == "sentiment_batch" and len(parts) > 1 and parts[1] != "__version__"
    }
    if room in ROOMS:
        assert ours <= BASE | {room}
    elif path.stem in BASE:
        assert ours <= BASE
    elif path.name not in ("cli.py", "__main__.py"):
        assert "cli" not in ours


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_and_transformers_stay_where_they_are_needed(path: Path) -> None:
    heavy = {name.split(".")[0] for name in imports(path)} & HEAVY
    assert not heavy or path.name in MAY_BE_HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "cli",
        "config",
        "read.plan",
        "read.split",
        "write.commit",
        "measure.metrics",
        "model.tokens",
        "labeller",
        "score",
        "forecast",
    ],
)
def test_importing_does_not_load_torch(module: str) -> None:
    heavy = "{'torch', 'transformers', 'sklearn'}"
    code = f"import sys, sentiment_batch.{module}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


FIRST = {"openvino_runtime.py", "conversion.py"}  # which see to it that its telemetry is not loaded


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_openvino_is_imported_without_its_telemetry(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & {"openvino", "nncf"} or path.name in FIRST


@pytest.mark.parametrize("module", ["model.openvino_engine", "model.graph_sizes", "model.conversion", "optimizing"])
def test_whatever_is_imported_first_no_telemetry_is(module: str) -> None:
    code = f"import sys, sentiment_batch.{module}; sys.exit(sys.modules['openvino_telemetry'] is not None)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_what_is_needed_later_is_imported_while_a_graph_is_loaded(optimized_model: Path) -> None:
    code = f"""if True:
        import sys, threading
        from sentiment_batch.labeller import Labeller
        from sentiment_batch.report import prepare_page
        done = threading.Event()
        labeller = Labeller({str(optimized_model)!r}, engine="openvino")
        assert not {{"pandas", "matplotlib", "jinja2"}} & set(sys.modules)
        labeller.load(lambda: (prepare_page(), done.set()))
        assert "pandas" in sys.modules, "as PyArrow needs it for the first rows"
        assert done.wait(60)
        assert {{"matplotlib", "jinja2", "sentiment_batch.measure.report"}} <= set(sys.modules)
        """
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_help_loads_no_arrow() -> None:
    code = (
        "import sys; sys.argv = ['sentiment-batch', 'score', '--help']\n"
        "from sentiment_batch.cli import main\n"
        "main()\n"
        "sys.exit(bool({'pyarrow', 'numpy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
