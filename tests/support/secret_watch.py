"""That no secret shows, during the whole suite: what is given to the library as a secret is
remembered, and looked for wherever it could show.

Looked at, in the process of the tests: every record that any logger makes, at DEBUG, with its
traceback; the text of every error of ours, when it is made; the output and the traceback of
every command of the command line; and, of every process that a test starts, its arguments (what
a list of processes shows) and its environment's names. Not looked at: what another process logs
(its output is, where a test reads it), and errors of drivers that nobody logs:
`test_secrets.py` has these one by one, with what is chained behind them.
"""

import logging
import re
import subprocess
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from click.testing import CliRunner
from psycopg import conninfo

from billing_adapters import stripe_payments
from billing_adapters.fake_payments import provider as fake
from billing_adapters.http import api
from billing_adapters.postgres import pool
from billing_core import BillingError

LEAST = 7  # of a shorter one it would be chance: a word that a path has

KNOWN: set[str] = set()
FOUND: list[str] = []
_LOOKING = threading.local()


def remember(secret: object) -> None:
    # What ends in _ is the beginning of a secret, that everybody knows.
    if isinstance(secret, str) and len(secret.strip()) >= LEAST and secret[-1] != "_":
        KNOWN.add(secret.strip())


def look(where: str, text: str) -> None:
    for secret in tuple(KNOWN):
        if secret in text:
            shown = re.sub(re.escape(secret), "<a secret>", text)
            FOUND.append(f"{where}: {shown[:2_000]}")


class _Records(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if getattr(_LOOKING, "now", False):
            return
        _LOOKING.now = True
        try:
            fields = " ".join(str(each) for each in vars(record).values())
            look(f"the log {record.name}", f"{self.format(record)} {fields}")
        finally:
            _LOOKING.now = False


def _passwords(dsn: object) -> None:
    try:
        remember(conninfo.conninfo_to_dict(dsn).get("password"))
    except Exception:  # what is misspelt is refused, and is another test's
        return


@contextmanager
def watched() -> Iterator[None]:
    """Everything is looked at until the end."""
    undo = [
        _before(stripe_payments, "checked_api_key", lambda key, **_: remember(key)),
        _before(stripe_payments, "checked_webhook_secrets", _each),
        _before(fake, "checked_webhook_secrets", _each),
        _before(pool, "with_defaults", _passwords),
        _after(api, "credential", remember),
        _before(BillingError, "__init__", _made),
        _before(subprocess.Popen, "__init__", _started),
        _after(CliRunner, "invoke", _ran),
    ]  # fmt: skip
    handler = _Records(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    loggers = [root, logging.getLogger("psycopg")]  # which makes itself quiet
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
        root.removeHandler(handler)
        for again in undo:
            again()


def _each(secrets):
    for each in secrets if isinstance(secrets, list | tuple) else ():
        remember(each)


def _made(self, *told):
    look("an error", " ".join(map(str, told)))


def _started(self, args, *more, **options):
    words = [args] if isinstance(args, str | bytes) else args
    look("the list of processes", " ".join(map(str, words)))


def _ran(result):
    look("the command line", result.output)
    if result.exc_info is not None:
        look(
            "a traceback of the command line", "".join(traceback.format_exception(*result.exc_info))
        )


def _before(place, name, tell):
    """Tell of every call of a function; what undoes that."""
    had = place.__dict__.get(name)
    called = getattr(place, name)

    def telling(*args, **options):
        tell(*args, **options)
        return called(*args, **options)

    setattr(place, name, telling)
    return lambda: delattr(place, name) if had is None else setattr(place, name, had)


def _after(place, name, tell):
    """Tell of what every call of a function answers; what undoes that."""
    called = getattr(place, name)

    def telling(*args, **options):
        answer = called(*args, **options)
        tell(answer)
        return answer

    setattr(place, name, telling)
    return lambda: setattr(place, name, called)
