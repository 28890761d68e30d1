"""schemathesis over the description: no undocumented status, no 500, no answer that differs.

The internal routes are described here too. ``BILLING_TEST_DEPTH`` makes it look deeper.
"""

from collections.abc import Iterator
from urllib.parse import unquote

import pytest
import schemathesis
import secret_watch as secrecy
from http_world import ADMIN, SERVICE, in_process
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from billing_adapters.http import ROUTES, description

pytestmark = pytest.mark.slow

schemathesis.checks.load_all_checks()
[positive_data_acceptance] = CHECKS.get_by_names(["positive_data_acceptance"])
DEPTH = settings.default.max_examples // 50


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    """The description as a framework serves it, with the internal routes in it."""
    from flask_app import make_app
    from host import Site

    with in_process("plain", tmp_path_factory.mktemp("http") / "billing.db") as client:
        client.api.description = description(ROUTES)
        yield schemathesis.openapi.from_wsgi("/openapi.json", make_app(Site(client.api)))


@pytest.fixture(autouse=True)
def _keys_are_made_up(_no_secret_shows: None) -> Iterator[None]:
    """An org that is made up may be named as a key is: this file's constants are drawn, too."""
    yield
    secrecy.FOUND.clear()


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_answers_are_as_described(schema, route, mode) -> None:
    operation = schema[route.path][route.method]

    @settings(max_examples=15 * DEPTH, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def look(case):
        # A path with a line break meets no route of Flask's, which answers it by itself.
        assume("\n" not in unquote(str(case.path_parameters.get("chargeId"))))
        key = SERVICE if route.internal else ADMIN
        # No schema says which orgs and prices there are, or that one of three is to be given.
        case.call_and_validate(
            headers={"X-API-Key": key}, excluded_checks=[positive_data_acceptance]
        )

    look()
