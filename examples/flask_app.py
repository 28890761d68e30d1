"""The billing API and page in Flask: python examples/flask_app.py"""

from __future__ import annotations

import logging
from threading import Thread

from flask import Flask, Response, request
from host import Site, open_site, serve

from billing_adapters import http
from billing_adapters.http import MAX_BODY

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app(site: Site) -> Flask:
    """An app that serves the billing API; the host's own routes are found before this one."""
    app = Flask(__name__, static_folder=None)

    @app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
    def billing(path: str) -> Response:
        query = request.query_string.decode("latin-1")
        body = request.stream.read(MAX_BODY + 1)
        asked = http.Request(request.method, request.path, query, request.headers, body)
        answer = site(asked)
        # In a list: HEAD keeps the length that the answer to GET has.
        return Response([answer.body], answer.status, answer.headers)

    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    site = open_site()
    Thread(target=site.work_on, daemon=True).start()
    serve(make_app(site))
