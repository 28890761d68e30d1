"""The billing API and page in Django: python examples/django_app.py"""

from __future__ import annotations

import logging
from threading import Thread

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from host import Site, open_site, serve

from billing_adapters import http
from billing_adapters.http import MAX_BODY


@csrf_exempt  # callers are known by keys, which no browser sends by itself, or by signatures
def billing(request: HttpRequest) -> HttpResponse:
    query = request.META["QUERY_STRING"]
    body = request.read(MAX_BODY + 1)
    asked = http.Request(request.method or "", request.path, query, request.headers, body)
    answer = settings.BILLING_SITE(asked)
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}  # connections stay open
    return HttpResponse(answer.body, status=answer.status, headers=headers)


urlpatterns = [re_path("", billing)]  # the host's own come before


def make_app(site: Site) -> WSGIHandler:
    """A project in one file, which serves the billing API."""
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["127.0.0.1", "localhost"],
            LOGGING_CONFIG=None,
            SECRET_KEY="nothing is signed",
            USE_TZ=True,
        )
    settings.BILLING_SITE = site
    return get_wsgi_application()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    site = open_site()
    Thread(target=site.work_on, daemon=True).start()
    serve(make_app(site))
