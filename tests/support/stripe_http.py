"""The server of `stripe_server.py` behind HTTP on the loopback: forms, keys, faults.

Idempotency as documented: the first answer of a key, failures included, is given again while
the key is kept; other parameters are an error; a request whose key is being used is a
conflict; what fails validation uses no key up. Keys are pruned once they are 24 hours old.
"""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit

from stripe_objects import API_VERSION
from stripe_server import ApiError

KEPT = 24 * 3600
CLOSE = object()


def nested(text):
    """`a[b][0]=c` as {"a": {"b": {"0": "c"}}}."""
    found = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)):
        first, *rest = name.replace("]", "").split("[")
        place = found
        for part, after in zip([first, *rest], rest, strict=False):
            assert after or part, name
            place = place.setdefault(part, {})
        last = rest[-1] if rest else first
        place[last or str(len(place))] = value
    return found


class Api:
    """Requests to a `StripeServer`. `schema`: what checks both sides of each, if any."""

    def __init__(self, server, key="sk_test_abc", schema=None):
        self.server = server
        self.key = key
        self.schema = schema
        self.keys = {}
        self.running = set()
        self.seen = []  # (method, path, parameters, headers)
        self.complaints = []  # what the schema says against us or the client
        self.requests = count(1)
        self.hold = threading.Event()  # a `hang` ends when it is set
        self.lock = threading.Lock()

    def answer(self, method, path, text, headers):
        """Status, headers, body; or CLOSE, to hang up without an answer."""
        params = nested(text)
        self.seen.append((method, path, params, headers))
        fault = self.server.faults.pop(0) if self.server.faults else "none"
        if fault == "hang":
            self.hold.wait(30)
        if fault in ("timeout_before", "hang"):
            return CLOSE
        status, body, replayed = self.carried_out(method, path, text, params, headers, fault)
        if self.schema is not None:
            self.complaints += self.schema.of_reply(method, path, status, body)
        if fault == "timeout_after":
            return CLOSE
        extra = {"Request-Id": f"req_{next(self.requests)}", "Stripe-Version": API_VERSION}
        if replayed:
            extra["Idempotent-Replayed"] = "true"
        return status, extra, json.dumps(body).encode()

    def carried_out(self, method, path, text, params, headers, fault):
        try:
            self.check(method, path, params, headers, fault)
            if method == "POST":
                return self.once(path, text, params, headers["Idempotency-Key"], fault)
            if fault.startswith("error"):
                raise internal()
            return 200, self.server.handle(method, path, params), False
        except ApiError as error:
            return error.status, error.body, False

    def check(self, method, path, params, headers, fault):
        if headers.get("Authorization") != f"Bearer {self.key}":
            raise ApiError(401, "invalid_request_error", "Invalid API Key provided: sk_test_***")
        if headers.get("Stripe-Version") != API_VERSION:
            raise ApiError(400, "invalid_request_error", "Invalid Stripe API version")
        if fault == "rate_limited":
            raise ApiError(429, "invalid_request_error", "Too many requests", code="rate_limit")
        if fault == "forbidden":
            raise ApiError(403, "invalid_request_error", "The key lacks permissions")
        if self.schema is not None:
            self.complaints += self.schema.of_request(method, path, params)

    def once(self, path, text, params, key, fault):
        now = self.server.now()
        with self.lock:
            self.keys = {k: each for k, each in self.keys.items() if now - each[0] < KEPT}
            if key in self.running or fault == "in_progress":
                raise ApiError(
                    409,
                    "idempotency_error",
                    "There is currently another in-progress request using this Idempotent Key.",
                    code="idempotency_key_in_use",
                )
            if key in self.keys:
                _, asked, status, body = self.keys[key]
                if asked != (path, text):
                    raise ApiError(
                        400,
                        "idempotency_error",
                        "Keys for idempotent requests can only be used with the same parameters "
                        "they were first used with.",
                    )
                return status, body, True
            self.running.add(key)
        try:
            status, body = self.executed(path, params, fault)
            with self.lock:
                self.keys[key] = (now, (path, text), status, body)
            return status, body, False
        finally:
            self.running.discard(key)

    def executed(self, path, params, fault):
        """What is kept for a key; raises ApiError for what is not."""
        try:
            if fault == "error_before":
                raise internal()
            body = self.server.handle("POST", path, params)
            if fault == "error_after":
                raise internal()
            return 200, body
        except ApiError as error:
            if not error.executed:
                raise
            return error.status, error.body


def internal():
    return ApiError(500, "api_error", "An unknown error occurred", executed=True)


@contextmanager
def served(api):
    """The address of a server that answers for `api` while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer: else each waits for an acknowledgement

        def respond(self):
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length).decode() if self.command == "POST" else parts.query
            answer = api.answer(self.command, parts.path, text, dict(self.headers))
            if answer is CLOSE:
                self.close_connection = True
                return
            status, extra, body = answer
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp=None):
            """As a header of every answer has it: of the server's own clock."""
            return super().date_time_string(api.server.now() if timestamp is None else timestamp)

        do_GET = do_POST = do_DELETE = respond

        def log_message(self, *_):
            """Nothing: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        api.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
