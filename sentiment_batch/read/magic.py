"""What a file is that is no text and no Parquet, told from its first bytes, so that one can be told what to do."""

UTF16, UTF32 = "UTF-16", "UTF-32"
LOOKED_AT = 4096  # bytes
_ENOUGH = 64  # to tell by what letters look like
_UNPACK = "unpack it first"
_EXPORT = "write it as Parquet, CSV or TSV first"
_NAME = "give it the ending that it should have"

# (how the file begins, what it is, what to do); some beginnings could be a word, so what follows must be no text
_BEGINNINGS = (
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"\x1f\x8b", "gzip", f"{_NAME}, .gz"),
    (b"BZh", "bzip2", f"{_NAME}, .bz2"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", f"{_NAME}, .zst"),
    (b"\xfd7zXZ\0", "xz", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "LZ4", _UNPACK),
    (b"PAR1", "Parquet", f"{_NAME}, or give --format parquet"),
    (b"PARE", "encrypted Parquet", "decrypt it first"),
    (b"ARROW1", "an Arrow or Feather file", _EXPORT),
    (b"FEA1", "a Feather file", _EXPORT),
    (b"\xff\xff\xff\xff", "an Arrow stream", _EXPORT),
    (b"ORC", "ORC", _EXPORT),
    (b"Obj\x01", "Avro", _EXPORT),
    (b"SQLite format 3\0", "an SQLite database", _EXPORT),
    (b"\x89HDF\r\n\x1a\n", "HDF5", _EXPORT),
    (b"\x93NUMPY", "a NumPy array", _EXPORT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook", _EXPORT),
    (b"%PDF-", "PDF", _EXPORT),
    *((bytes([0x80, protocol]), "a Python pickle", _EXPORT) for protocol in range(2, 6)),
)
_WORKBOOK = (b"[Content_Types].xml", b"xl/", b"docProps/", b"_rels/")
_TAR_AT, _TAR = 257, b"ustar"


def looks_like(head: bytes) -> tuple[str, str] | None:
    """(what it is, what to do with it); None for what may be UTF-8 text and for what is not known."""
    head = head[:LOOKED_AT]
    if not _odd_bytes(head):
        return None
    if head[_TAR_AT:].startswith(_TAR):
        return "a tar archive", _UNPACK
    for beginning, what, advice in _BEGINNINGS:
        if head.startswith(beginning):
            if what == "a zip archive" and any(name in head for name in _WORKBOOK):
                return "an Excel workbook", _EXPORT
            return what, advice
    if wide := _wide(head):
        return wide, f"convert it first: iconv -f {wide} -t UTF-8"
    return None


def is_plain(head: bytes) -> bool:
    """Whether it is UTF-8 text, as far as its beginning tells."""
    return bool(head) and not _odd_bytes(head[:LOOKED_AT])


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32, with a byte order mark or without one: then by where its zero bytes are."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return UTF32
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return UTF16
    zeros = head.count(0)
    whole = head[: len(head) // 4 * 4]
    if zeros >= len(head) / 4 and whole.strip(b"\0") and any(map(_decodes, [whole] * 2, ("utf-32-le", "utf-32-be"))):
        return UTF32
    if zeros > len(head) // 4:
        return UTF16
    # Letters that are not Latin have no zero byte; the line feeds and spaces between them have, all on one side.
    if len(head) >= _ENOUGH and zeros > len(head) / 64 and _odd_bytes(head) > len(head) / 8:
        for side, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if not head[1 - side :: 2].count(0) and _decodes(whole[:-2], encoding):
                return UTF16
    return None


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 2 > 0  # half a surrogate pair at the end
    return True


def _odd_bytes(head: bytes) -> int:
    """How many characters of the head no text has: bytes that are not UTF-8, and control characters."""
    text = head.decode(errors="surrogateescape")
    if head and len(head) == LOOKED_AT:
        text = text.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))  # a character that is cut in two
    return sum("\udc80" <= letter <= "\udcff" or (letter < " " and letter not in "\t\r\n") for letter in text)
