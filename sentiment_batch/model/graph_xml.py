"""OpenVINO's XML -> layers, by a grammar that has no more than operations and what flows between them.

The sizes and types of tensors, and the notes of how a graph was made, may be there and are not looked at: the former
OpenVINO finds itself, the latter are for people.
"""

from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

BEGINNING = b'<?xml version="1.0"?>'
VERSION = "11"
_LAYER = ("net", "layers", "layer")
_NOTES = ("net", "rt_info")
_PORT = {"id", "precision"}
# The attributes that each element must have; those of `data` are its operation's.
_ELEMENTS: dict[tuple[str, ...], set[str]] = {
    ("net",): {"name", "version"},
    ("net", "layers"): set(),
    _LAYER: {"id", "name", "type", "version"},
    (*_LAYER, "data"): set(),
    (*_LAYER, "input"): set(),
    (*_LAYER, "input", "port"): _PORT,
    (*_LAYER, "input", "port", "dim"): set(),
    (*_LAYER, "output"): set(),
    (*_LAYER, "output", "port"): _PORT,
    (*_LAYER, "output", "port", "dim"): set(),
    ("net", "edges"): set(),
    ("net", "edges", "edge"): {"from-layer", "from-port", "to-layer", "to-port"},
    _NOTES: set(),
}
_OPTIONAL = {"layer": {"output_names"}, "port": {"names"}}
_ONCE = {"layers", "edges", "rt_info", "data", "input", "output"}  # in the element that they are in

Port = tuple[str, str]  # the id of a layer, and of a port of it


@dataclass
class Layer:
    id: str
    name: str
    kind: str
    version: str
    attributes: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)  # the ids of its ports
    outputs: list[str] = field(default_factory=list)


def read_xml(content: bytes) -> tuple[list[Layer], list[tuple[Port, Port]]]:
    """The layers in the order of the file, and the edges, from and to.

    Raises `ValueError` for what is not of the grammar: other elements or attributes, text, comments, instructions, and
    declarations, by which a few bytes become gigabytes or another encoding makes other elements of them.
    """
    if not content.startswith(BEGINNING):
        raise ValueError(f"it does not begin with {BEGINNING.decode()}")
    reading = _Reading()
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = parser.CommentHandler = parser.ProcessingInstructionHandler = _refuse
    parser.StartCdataSectionHandler = _refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
    return reading.layers, reading.edges


class _Reading:
    """What was read so far, and where in the document we are."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.edges: list[tuple[Port, Port]] = []
        self.path: list[str] = []
        self.seen: list[set[str]] = [set()]  # which of `_ONCE`, for each element of the path

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if self._in_notes():
            self.path.append(tag)
            return
        self.path.append(tag)
        _check_element(tuple(self.path), attributes)
        if tag in self.seen[-1] and tag in _ONCE:
            raise ValueError(f"it has the element {tag} twice where it may be once")
        self.seen[-1].add(tag)
        self.seen.append(set())
        if tag == "layer":
            self.layers.append(Layer(attributes["id"], attributes["name"], attributes["type"], attributes["version"]))
        elif tag == "data":
            self.layers[-1].attributes = attributes
        elif tag == "port":
            ports = self.layers[-1].inputs if self.path[-2] == "input" else self.layers[-1].outputs
            ports.append(attributes["id"])
        elif tag == "edge":
            source, target = attributes["from-layer"], attributes["to-layer"]
            self.edges.append(((source, attributes["from-port"]), (target, attributes["to-port"])))

    def end(self, _: str) -> None:
        self.path.pop()
        if not self._in_notes():
            self.seen.pop()

    def text(self, found: str) -> None:
        if found.strip() and self.path[-1] != "dim" and not self._in_notes():
            raise ValueError(f"it has text in the element {self.path[-1]}")

    def _in_notes(self) -> bool:
        return tuple(self.path[:2]) == _NOTES


def _check_element(path: tuple[str, ...], attributes: dict[str, str]) -> None:
    if path not in _ELEMENTS:
        raise ValueError(f"it has the element {path[-1]!a:.40} in {'/'.join(path[:-1]) or 'its place'}")
    if path[-1] != "data" and attributes.keys() - _OPTIONAL.get(path[-1], set()) != _ELEMENTS[path]:
        raise ValueError(f"an element {path[-1]} has the attributes {', '.join(sorted(attributes))!a:.80}")
    if path == ("net",) and attributes["version"] != VERSION:
        raise ValueError(f"it is of version {attributes['version']!a:.20}, not {VERSION}")


def _refuse(*_: object) -> NoReturn:
    raise ValueError("it has a declaration, a comment or an instruction, which no graph has")
