"""model/graph_xml.py: the grammar of a graph, and nothing else."""

import time
import tracemalloc

import pytest
from graph_text import begin, end

from sentiment_batch.model.graph_xml import Layer, read_xml


def valid() -> bytes:
    text, ids, _ = begin()
    return end(text, ids).xml()


def test_layers_come_in_their_order_with_their_ports_and_edges() -> None:
    layers, edges = read_xml(valid())
    assert [layer.kind for layer in layers] == [
        *("Parameter", "Parameter", "Convert", "Const", "ReduceSum", "Const", "Add", "Result"),
    ]
    shape = {"shape": "?,?", "element_type": "i64"}
    assert layers[1] == Layer("1", "attention_mask", "Parameter", "opset1", shape, [], ["0"])
    assert layers[4] == Layer("4", "4", "ReduceSum", "opset1", {"keep_dims": "true"}, ["0", "1"], ["2"])
    assert edges[:2] == [(("0", "0"), ("2", "0")), (("2", "1"), ("4", "0"))]
    assert len(edges) == 6


def test_notes_and_sizes_are_not_looked_at() -> None:
    notes = b'<rt_info><a><b value="../../etc"/>text<net version="3"><layers/></net></a><a/></rt_info></net>'
    noted = valid().replace(b"</net>", notes)
    sized = noted.replace(b'precision="FP32"/>', b'precision="STRING" names="a,b"><dim>-1</dim><dim> x </dim></port>')
    named = sized.replace(b'type="Result"', b'type="Result" output_names="logits"')
    assert read_xml(named) == read_xml(valid())


# What to find in a valid graph, what to put in its place, and what is said
CHANGES: dict[str, tuple[bytes, bytes, str]] = {
    "entities": (b"<net ", b'<!DOCTYPE net [<!ENTITY a "aaaa">]><net ', "a declaration"),
    "a file elsewhere": (b"<net ", b'<!DOCTYPE net SYSTEM "file:///etc/passwd"><net ', "a declaration"),
    "a comment": (b"<layers>", b"<layers><!-- a -->", "a comment"),
    "an instruction": (b"<layers>", b"<layers><?php a?>", "an instruction"),
    "a section": (b"<layers>", b"<layers><![CDATA[a]]>", "a declaration, a comment or an instruction"),
    "text": (b"<layers>", b"<layers>text", "text in the element layers"),
    "an entity that is not there": (b"<layers>", b"<layers>&a;", "undefined entity"),
    "text behind it": (b"</net>", b"</net>text", "junk after document element"),
    "another document": (b"</net>", b"</net><net/>", "junk after document element"),
    "no version": (b' version="11">', b">", "net has the attributes 'name'"),
    "another version": (b' version="11">', b' version="10">', "version '10', not 11"),
    "another root": (b"net", b"graph", "the element 'graph' in its place"),
    "layers twice": (b"<edges>", b"<layers/><edges>", "layers twice"),
    "edges twice": (b"</net>", b"<edges/></net>", "edges twice"),
    "notes twice": (b"</net>", b"<rt_info/><rt_info/></net>", "rt_info twice"),
    "notes with an attribute": (b"</net>", b'<rt_info a="b"/></net>', "rt_info has the attributes 'a'"),
    "notes of a layer": (b"<input>", b"<rt_info/><input>", "'rt_info' in net/layers/layer"),
    "data twice": (b"<input>", b"<data/><input>", "data twice"),
    "inputs twice": (b"<input>", b"<input/><input>", "input twice"),
    "outputs twice": (b"<output>", b"<output/><output>", "output twice"),
    "an inner graph": (b"<input>", b"<body><layers/></body><input>", "'body' in net/layers/layer"),
    "a map of ports": (b"<input>", b"<port_map/><input>", "'port_map'"),
    "a layer in a layer": (
        b"<input>",
        b'<layer id="9" name="" type="" version=""/><input>',
        "'layer' in net/layers/la",
    ),
    "another element among layers": (b"<layers>", b"<layers><operation/>", "'operation' in net/layers"),
    "meta data": (b"</net>", b"<meta_data/></net>", "'meta_data' in net"),
    "statistics": (b"</net>", b"<statistics/></net>", "'statistics' in net"),
    "preprocessing": (b"</net>", b"<pre-process/></net>", "'pre-process' in net"),
    "weights of old": (b"<input>", b'<blobs><weights offset="0" size="4"/></blobs><input>', "'blobs'"),
    "an attribute twice": (b'<port id="0"', b'<port id="0" id="1"', "duplicate attribute"),
    "another attribute of a layer": (b"<layer ", b'<layer library="evil.so" ', "'id, library, name, type, version'"),
    "another attribute of an edge": (b"<edge ", b'<edge a="b" ', "edge has the attributes 'a, from-layer"),
    "a port without an id": (b'<port id="0" ', b"<port ", "port has the attributes 'precision'"),
    "a layer without a kind": (b' type="Add"', b"", "layer has the attributes 'id, name, version'"),
    "an end that is missing": (b"</edges>", b"", "mismatched tag"),
    "a name space": (b"<layers>", b"<a:layers>", "'a:layers' in net"),
    "a byte that is no UTF-8": (b'name="a"', b'name="\xff"', "not well-formed"),
    "a zero": (b'name="a"', b'name="\0"', "not well-formed"),
    "a mark of bytes": (b"<?xml", b"\xef\xbb\xbf<?xml", "does not begin with"),
    "an encoding": (b'"1.0"?>', b'"1.0" encoding="utf-7"?>', "does not begin with"),
    "white space first": (b"<?xml", b" <?xml", "does not begin with"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_of_the_grammar_is_refused(name: str) -> None:
    before, after, says = CHANGES[name]
    assert before in valid()
    with pytest.raises(ValueError, match=says):
        read_xml(valid().replace(before, after, 1))


@pytest.mark.parametrize("content", [b"", b"<net/>", b'<?xml version="1.0"?>', b"\xff\xfe<\0n\0", valid()[:-3]])
def test_what_is_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"does not begin|no element|unclosed|not well-formed"):
        read_xml(content)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037", "utf-7"])
def test_only_utf8_is_read(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"does not begin|not well-formed"):
        read_xml(valid().decode().encode(encoding) if encoding != "utf-7" else valid().replace(b"<net", b"+ADw-net"))


@pytest.mark.parametrize("piece", [b"<a>", b"<layers>", b"<a/>", b"<rt_info>"])
def test_millions_of_elements_are_refused_or_left_out_in_little_memory(piece: bytes) -> None:
    content = valid().replace(b"</net>", b"<rt_info>" * (piece == b"<a>") + piece * (2**22 // len(piece)))
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"element|unclosed"):
        read_xml(content)
    assert time.perf_counter() - began < 5


def test_a_file_of_small_layers_takes_little_memory() -> None:
    layer = b'<layer id="" name="" type="" version=""/>'
    content = b'<?xml version="1.0"?><net name="" version="11"><layers>' + layer * (2**20 // len(layer))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="no element"):
            read_xml(content)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(content)
    finally:
        tracemalloc.stop()
