"""The billing API and page in Flask: python examples/flask_app.py"""

from __future__ import annotations

import logging
import os

import waitress
from flask import Flask, Response, request
from host import open_api

from billing_adapters import http
from billing_adapters.http import MAX_BODY, Api

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_app(api: Api) -> Flask:
    """An app that serves the billing API; the host's own routes are found before this one."""
    app = Flask(__name__, static_folder=None)

    @app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
    def billing(path: str) -> Response:
        query = request.query_string.decode("latin-1")
        body = request.stream.read(MAX_BODY + 1)
        asked = http.Request(request.method, request.path, query, request.headers, body)
        answer = api(asked)
        return Response(answer.body, answer.status, answer.headers)

    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    port = os.environ.get("PORT", "8000")
    # Requests that come at once share a commit: a thread for each.
    waitress.serve(make_app(open_api()), host="127.0.0.1", port=port, threads=16)
