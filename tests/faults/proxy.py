"""A proxy in front of an object store that counts the requests and spoils one of them, or all from that one on.

The idea is that of Delta Lake's S3FaultProxy. Requests are signed over their Host, which is passed on as it came; the
store of the tests (moto) checks no signatures.
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

LOST, CUT, CUT_HEAD, REPEAT, STRIP = "lost", "cut", "cut_head", "repeat", "strip"
CONFLICT, CONDITION, INTERNAL, SLOW_DOWN, EXPIRED = "409", "412", "500", "503", "403"
SECRET = "IQoJb3JpZ2luX2VjEcanaryOfTheSessionToken"  # an answer to an expired token has the token in it
REFUSALS = {
    CONFLICT: ("ConditionalRequestConflict", "A conflicting operation is in progress against this resource."),
    CONDITION: ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    INTERNAL: ("InternalError", "We encountered an internal error. Please try again."),
    SLOW_DOWN: ("SlowDown", "Please reduce your request rate."),
    EXPIRED: ("ExpiredToken", f"The provided token has expired.</Message><Token-0>{SECRET}</Token-0><Message>"),
}
KINDS = (LOST, CUT, CUT_HEAD, REPEAT, *REFUSALS)
WRITES = ("PUT", "POST", "DELETE")
_OURS = {"connection", "transfer-encoding", "content-length", "keep-alive"}  # of an answer: said anew by the proxy


class Proxy:
    """Listens on `endpoint`. `arm` says what is to happen from now on and begins to count anew.

    lost: the request is carried out and the connection closed without an answer. cut, cut_head: carried out, and the
    connection closed in the middle of the answer's body or head. repeat: carried out twice, and the second answer
    given. A number: refused with that status, and not carried out. strip: carried out without its conditions.
    """

    def __init__(self, target: str):
        parts = urlsplit(target)
        self.target = (parts.hostname or "", parts.port or 80)
        self.lock = threading.Lock()
        self.arm()
        proxy = self

        class Handler(_Handler):
            def __init__(self, *rest: Any):
                super().__init__(proxy, *rest)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def arm(self, kind: str = "", at: int = 1, forever: bool = False, methods: tuple[str, ...] = ()) -> None:
        """`methods`: the only ones that count. Without a kind nothing happens but the counting."""
        with self.lock:
            self.kind, self.at, self.forever, self.methods = kind, at, forever, methods
            self.seen: list[str] = []  # "PUT part-00000.parquet", ... of those that count
            self.fired = 0

    def next(self, method: str, path: str) -> str:
        """What is to happen to this request."""
        with self.lock:
            if self.methods and method not in self.methods:
                return ""
            self.seen.append(f"{method} {path.partition('?')[0].rpartition('/')[2]}")
            hit = len(self.seen) == self.at or (self.forever and len(self.seen) > self.at)
            self.fired += hit and self.kind != ""
            return self.kind if hit else ""

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one answer, one packet
    disable_nagle_algorithm = True

    def __init__(self, proxy: Proxy, *rest: Any):
        self.proxy = proxy
        super().__init__(*rest)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.next(self.command, self.path)
        if fault in REFUSALS:
            head, answer = self._refusal(int(fault))
        else:
            for _ in range(2 if fault == REPEAT else 1):
                head, answer = self._forward(body, conditions=fault != STRIP)
        if fault in (LOST, CUT, CUT_HEAD):
            self.close_connection = True
            if fault == CUT_HEAD or (fault == CUT and not answer):
                self.wfile.write(head[: len(head) // 2])
            elif fault == CUT:
                self.wfile.write(head + answer[: len(answer) // 2])
            self.wfile.flush()
            self.connection.shutdown(SHUT_RDWR)
            return
        self.wfile.write(head + answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815 - http.server calls them so

    def _forward(self, body: bytes, conditions: bool) -> tuple[bytes, bytes]:
        """The head and the body of the store's answer."""
        store = http.client.HTTPConnection(*self.proxy.target, timeout=60)
        try:
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if conditions or name.lower() not in ("if-none-match", "if-match"):
                    store.putheader(name, value)
            store.endheaders(body)
            response = store.getresponse()
            data = response.read()
            length = response.headers["Content-Length"] if self.command == "HEAD" else str(len(data))
            headers = [(name, value) for name, value in response.getheaders() if name.lower() not in _OURS]
            return _head(response.status, response.reason, [*headers, ("Content-Length", length or "0")]), data
        finally:
            store.close()

    def _refusal(self, status: int) -> tuple[bytes, bytes]:
        code, message = REFUSALS[str(status)]
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
        data = b"" if self.command == "HEAD" else xml.encode()
        length = str(len(xml)) if self.command == "HEAD" else str(len(data))
        return _head(status, code, [("Content-Type", "application/xml"), ("Content-Length", length)]), data

    def log_message(self, *_: Any) -> None:
        """Nothing: there are thousands."""


def _head(status: int, reason: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")
