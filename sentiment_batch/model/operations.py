"""The operations that the graph of an encoder is made of: what each may be told, and what it may be given.

They are what OpenVINO makes of the encoders in `configuration.py`, in floating point and in int8, and plain arithmetic
beside it. None loops, branches, keeps a state, draws numbers, writes to places that its input names, reads a file, or
comes from an extension.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Operation:
    """The inputs are a letter each; `?` is behind one that may be left out, `*` behind one that may be repeated:

    x  any tensor
    c  a constant of a few numbers: axes, an order, a beginning
    s  a few numbers that come from constants and the sizes of tensors, and not from what is in them: a shape
    """

    version: str  # its opset
    inputs: str
    attributes: dict[str, str]  # a pattern for the value of each; none may be left out
    outputs: str = "1"  # a pattern for their number

    def letters(self, inputs: int) -> str | None:
        """The letter of each of so many inputs; None if it cannot have so many."""
        letters = self.inputs.replace("?", "").replace("*", "")
        least = len(letters) - self.inputs.count("?")
        if self.inputs.endswith("*"):
            letters = letters.ljust(inputs, letters[-1])
        return letters[:inputs] if least <= inputs <= len(letters) else None


_FLAG = "true|false"
_AXIS = "-?[0-7]"
_TYPE = "boolean|f32|i32|i64"
_COUNTS = "[0-9]{1,3}"
_REAL = r"-?[0-9]{1,30}(\.[0-9]{1,30})?(e[-+][0-9]{1,3})?"
_NUMPY = {"auto_broadcast": "numpy"}
_OF_ONE = "Abs Ceiling Cos Erf Exp Floor Log Negative ReLU Sigmoid Sign Sin Sqrt Tanh"
_OF_TWO = "Add Maximum Minimum Mod Multiply Power Subtract"
_TESTS_OF_TWO = "Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr NotEqual"
TESTS = {"LogicalNot", *_TESTS_OF_TWO.split()}  # whose result is true or false

OPERATIONS: dict[str, Operation] = {
    **{name: Operation("opset1", "x", {}) for name in _OF_ONE.split()},
    **{name: Operation("opset1", "xx", _NUMPY) for name in f"{_OF_TWO} {_TESTS_OF_TWO}".split()},
    **{name: Operation("opset1", "xc", {"keep_dims": _FLAG}) for name in ("ReduceMean", "ReduceProd", "ReduceSum")},
    "BitwiseAnd": Operation("opset13", "xx", _NUMPY),
    "BitwiseNot": Operation("opset13", "x", {}),
    "Broadcast": Operation("opset3", "xs", {"mode": "bidirectional|numpy"}),
    "Clamp": Operation("opset1", "x", {"min": _REAL, "max": _REAL}),
    "Concat": Operation("opset1", "xx*", {"axis": _AXIS}),
    "Const": Operation(
        "opset1",
        "",
        {
            "element_type": "boolean|f32|i32|i64|i8|u8",
            "shape": "([1-9][0-9]{0,14}(, [1-9][0-9]{0,14}){0,7})?",
            "offset": "[0-9]{1,15}",
            "size": "[0-9]{1,15}",
        },
    ),
    "Convert": Operation("opset1", "x", {"destination_type": _TYPE}),
    "Convolution": Operation(
        "opset1",
        "xx",
        {"strides": "1", "dilations": "1", "pads_begin": _COUNTS, "pads_end": _COUNTS, "auto_pad": "explicit"},
    ),
    "CumSum": Operation("opset3", "xc", {"exclusive": _FLAG, "reverse": _FLAG}),
    "Divide": Operation("opset1", "xx", {**_NUMPY, "m_pythondiv": _FLAG}),
    "FakeQuantize": Operation("opset1", "xxxxx", {**_NUMPY, "levels": "255|256"}),
    "Gather": Operation("opset8", "xxc", {"batch_dims": "0"}),
    "GatherElements": Operation("opset6", "xx", {"axis": _AXIS}),
    "Gelu": Operation("opset7", "x", {"approximation_mode": "ERF|TANH"}),
    "LogicalNot": Operation("opset1", "x", {}),
    "MVN": Operation("opset6", "xc", {"eps": _REAL, "normalize_variance": _FLAG, "eps_mode": "INSIDE_SQRT"}),
    "MatMul": Operation("opset1", "xx", {"transpose_a": _FLAG, "transpose_b": _FLAG}),
    "Mish": Operation("opset4", "x", {}),
    "Parameter": Operation("opset1", "", {"shape": r"\?,\?", "element_type": "i64"}),
    "Range": Operation("opset4", "csc", {"output_type": "i32|i64"}),
    "Reshape": Operation("opset1", "xs", {"special_zero": _FLAG}),
    "Result": Operation("opset1", "x", {}, "0"),
    "ScaledDotProductAttention": Operation("opset13", "xxxxx?", {"causal": "false"}),
    "Select": Operation("opset1", "xxx", _NUMPY),
    "ShapeOf": Operation("opset3", "x", {"output_type": "i32|i64"}),
    "Slice": Operation("opset8", "xsscc", {}),
    "SoftMax": Operation("opset8", "x", {"axis": _AXIS}),
    "Split": Operation("opset1", "xc", {"num_splits": "[2-8]"}, "[2-8]"),
    "Squeeze": Operation("opset1", "xc?", {}),
    "Swish": Operation("opset4", "xx?", {}),
    "Tile": Operation("opset1", "xs", {}),
    "Transpose": Operation("opset1", "xc", {}),
    "Unsqueeze": Operation("opset1", "xc", {}),
    "VariadicSplit": Operation("opset1", "xcs", {}, "[2-8]"),
}
# By these a shape comes from constants and other shapes.
_SHAPES = (
    "Add Convert Divide Floor Gather Greater Maximum Minimum Mod Multiply ReduceProd ReduceSum Reshape Slice Split "
    "Squeeze Subtract Unsqueeze"
)
# How many numbers such a shape has at most, by those of the inputs.
SHAPE_ARITHMETIC: dict[str, Callable[[Iterable[int]], int]] = {
    "Concat": sum,
    **dict.fromkeys(_SHAPES.split(), prod),
}
