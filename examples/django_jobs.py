"""A row and its charge in one transaction of Django's: python examples/django_jobs.py

Either both are there or neither is, in SQLite and in PostgreSQL: the tables of the host and of
the engine are in one database, and the host's own statement has begun the transaction.
"""

from __future__ import annotations

import os
from typing import Any
from uuid import uuid4

import django
from django.conf import settings
from django.db import connection, models, transaction
from host import open_billing

from billing_core import Billing, Refused, decimal_text, usd


def database(setting: str) -> dict[str, Any]:
    """Django's settings of the database that the engine is in."""
    if setting.startswith(("postgres://", "postgresql://")):
        from psycopg.conninfo import conninfo_to_dict

        given = conninfo_to_dict(setting)
        name = given.pop("dbname", "")
        return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "OPTIONS": given}
    # A transaction that is to write says so when it begins.
    options = {"transaction_mode": "IMMEDIATE"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": setting, "OPTIONS": options}


settings.configure(
    DATABASES={"default": database(os.environ.get("BILLING_DB", "billing-example.db"))}, USE_TZ=True
)
django.setup()


class Job(models.Model):
    name = models.CharField(max_length=100, primary_key=True)

    class Meta:
        app_label = "jobs"


def render(billing: Billing, name: str, price: str) -> None:
    """A job is on record if and only if it is paid for."""
    with transaction.atomic():
        Job.objects.create(name=name)
        billing.within(connection.connection).deduct("acme", name, usd(price), resource="render")


def main() -> None:
    billing = open_billing()
    if Job._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Job)
    Job.objects.all().delete()
    before = billing.balance("acme").balance
    film, saga = f"film-{uuid4()}", f"saga-{uuid4()}"
    render(billing, film, "0.25")
    try:
        render(billing, saga, "1000")
    except Refused as error:
        print(f"no row, no charge: {error.refusal.reason}")
    assert [job.name for job in Job.objects.all()] == [film]
    spent = before - billing.balance("acme").balance
    print(f"1 job, {decimal_text(spent)} charged, verified: {billing.verify().ok}")
    connection.close()


if __name__ == "__main__":
    main()
