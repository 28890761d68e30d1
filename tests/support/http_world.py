"""The billing API as its clients meet it: in this process, or as a server of its own.

Every host serves what the examples' ``host.py`` opens: orgs ``acme`` (members ana and bo, of
whom bo is admin) and ``globex`` (eve and gus), and the service ``gateway``.
"""

import asyncio
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlencode
from uuid import uuid4

from attrs import field, frozen

from billing_adapters.http import Request

ROOT = Path(os.environ.get("BILLING_DOCS_DIR") or Path(__file__).parents[2]).absolute()
EXAMPLES = ROOT / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.append(str(EXAMPLES))

MEMBER, ADMIN, OTHER, OTHER_ADMIN, SERVICE = (
    f"key-{name}" for name in ("ana", "bo", "eve", "gus", "gateway")
)
IN_PROCESS = ("plain", "fastapi", "flask", "django")
SERVERS = ("fastapi_app.py", "flask_app.py", "django_app.py")


@frozen
class Answer:
    status: int
    headers: dict[str, str] = field(converter=lambda given: {k.lower(): v for k, v in given})
    body: bytes

    @property
    def json(self):
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body)

    @property
    def data(self):
        assert self.status == 200, self.body
        return self.json["data"]

    @property
    def code(self):
        error = self.json["error"]
        assert {type(error[name]) for name in ("code", "message", "requestId")} == {str}
        assert re.fullmatch("[a-z_]+", error["code"]) and error["message"]
        assert error["requestId"] == self.headers["x-request-id"]
        return error["code"]


class Client:
    """Sends requests by ``send(method, path, query, headers, body) -> Answer``."""

    def __init__(self, send, site=None):
        self.send, self.site = send, site
        self.api = None if site is None else site.api

    def __call__(self, method, path, key=MEMBER, *, query=(), body=None, idem=None, headers=()):
        """``query``: pairs, or text as it is sent.  ``body``: bytes, or what is sent as JSON."""
        sent = {"X-API-Key": key} if key is not None else {}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if idem is not None:
            sent["Idempotency-Key"] = idem
        sent |= dict(headers)
        sent = {name: value for name, value in sent.items() if value is not None}
        raw = body if isinstance(body, bytes) else b"" if body is None else dumped(body)
        text = query if isinstance(query, str) else urlencode(query)
        return self.send(method, path, text, sent, raw)

    def get(self, path, key=MEMBER, **query):
        return self("GET", path, key, query=query)

    def post(self, path, body, key=SERVICE, idem=None):
        return self("POST", path, key, body=body, idem=uuid4().hex if idem is None else idem)

    def settle(self, member="ana", org="acme", idem=None, **call):
        """A model call of the member's."""
        call = {"model": "small", "inputTokens": 1_000, "outputTokens": 100} | call
        body = {"orgId": org, "memberId": member, "modelCall": call}
        return self.post("/v1/internal/models/settle", body, idem=idem)


def dumped(value):
    return json.dumps(value).encode()


@contextmanager
def database(kind, folders):
    """The setting of a database: a file of SQLite, or the DSN of one of PostgreSQL."""
    if kind == "sqlite":
        yield folders.mktemp("http") / "billing.db"
        return
    from postgres_servers import fresh_database

    with fresh_database() as dsn:
        yield dsn


# -- in this process ------------------------------------------------------------


def plain(api):
    def send(method, path, query, headers, body):
        found = api(Request(method, path, query, headers, body))
        return Answer(found.status, found.headers.items(), found.body)

    return send


def by_wsgi(app):
    def send(method, path, query, headers, body):
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers.items():
            variable = name.upper().replace("-", "_")
            environ[variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = value
        begun = []
        chunks = app(environ, lambda status, headers, _=None: begun.append((status, headers)))
        try:
            content = b"".join(chunks)
        finally:
            getattr(chunks, "close", lambda: None)()
        [(status, answered)] = begun
        return Answer(int(status.split()[0]), answered, content)

    return send


def by_asgi(app):
    def send(method, path, query, headers, body):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": query.encode("latin-1"),
            "headers": [
                (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
            ],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
        }
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def gather(message):
            sent.append(message)

        asyncio.run(app(scope, receive, gather))
        content = b"".join(each.get("body", b"") for each in sent[1:])
        pairs = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        return Answer(sent[0]["status"], pairs, content)

    return send


@contextmanager
def in_process(framework, database):
    """A client of what the framework's example serves, in this process."""
    before = os.environ.get("BILLING_DB")
    os.environ["BILLING_DB"] = str(database)
    try:
        api = import_module("host").open_site().api
    finally:
        os.environ.pop("BILLING_DB")
        if before is not None:
            os.environ["BILLING_DB"] = before
    try:
        yield mounted(framework, api)
    finally:
        api.billing.store.close()


def mounted(framework, api):
    """A client of an API that a framework serves in this process, as the examples do."""
    site = import_module("host").Site(api)
    if framework == "plain":
        return Client(plain(site), site)
    app = import_module(f"{framework}_app").make_app(site)
    return Client(by_asgi(app) if framework == "fastapi" else by_wsgi(app), site)


# -- as a server ----------------------------------------------------------------


@contextmanager
def served(example, database):
    """A client of an example that runs as its first line says; the address is what it prints."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / example)],
        env=os.environ | {"BILLING_DB": str(database), "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
        else:
            raise AssertionError(f"{example} did not start:\n{''.join(said)}")
        # What it goes on to say is read, or a full pipe would stop it.
        reader = Thread(target=lambda: said.extend(process.stdout), daemon=True)
        reader.start()
        send = by_http(int(found[1]))
        send.said = said
        try:
            yield Client(send)
        finally:
            process.terminate()
            reader.join(timeout=30)
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def by_http(port):
    def send(method, path, query, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            target = quote(path) + (f"?{query}" if query else "")
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    send.port = port
    return send
