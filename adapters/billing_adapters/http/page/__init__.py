"""The billing page: a few files, served as they are.  It uses the public API alone."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from billing_adapters.http.messages import Request, Response, without_body

__all__ = ["page"]

_FILES = {
    "/billing": ("index.html", "text/html"),
    "/billing/page.css": ("page.css", "text/css"),
    **{
        f"/billing/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("page", "client", "elements", "chart", "paying")
    },
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(request: Request) -> Response | None:
    """One of the page's files, or None where the path is none of theirs."""
    path = request.path.rstrip("/") or "/"
    if path not in _FILES or request.method not in ("GET", "HEAD"):
        return None
    name, kind = _FILES[path]
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    response = Response(200, headers, _content(name))
    return without_body(response) if request.method == "HEAD" else response


@cache
def _content(name: str) -> bytes:
    return (files(__name__) / name).read_bytes()
