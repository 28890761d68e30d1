"""The in-memory store keeps the contract, and the ledger on it agrees with the model."""

from copy import deepcopy
from importlib import import_module
from pkgutil import iter_modules

import attrs
from full_database import furnish

from billing_core import records
from billing_core.ports.state import Changes, OrgState
from billing_core.records.ledger import Lot
from billing_core.records.runs import Run
from billing_core.records.topups import TopUp, TopUpRules
from billing_core.testing import MemoryStore
from billing_core.testing.copies import copied
from billing_core.testing.stores.conformance import StoreConformance


class TestMemoryStore(StoreConformance):
    make_store = MemoryStore


def what_can_change(value, found):
    """Every object of a value that can be changed, by its identity."""
    if value is None or isinstance(value, bool | int | str | bytes):
        return found
    if attrs.has(type(value)):
        inside = [getattr(value, each.name) for each in attrs.fields(type(value))]
    else:
        assert isinstance(value, dict | list | set | tuple), value
        inside = [*value, *value.values()] if isinstance(value, dict) else value
    if not isinstance(value, tuple):
        found[id(value)] = value
    for each in inside:
        what_can_change(each, found)
    return found


def test_a_copy_is_a_deep_one_of_every_record_there_is() -> None:
    store = MemoryStore()
    furnish(store)
    for org in store._orgs.values():
        # Some of it once more, as the same objects.
        known = [org, {"entries": org.entries}]
        copy = copied(known)
        assert copy == deepcopy(known) == known
        mine, others = what_can_change(known, {}), what_can_change(copy, {})
        assert len(mine) == len(others) and not mine.keys() & others.keys()
        assert copy[1]["entries"] is copy[0].entries
        assert all(copy[0].by_key[entry.key] is entry for entry in copy[0].entries)


def can_change(kind):
    value = kind.__new__(kind)
    try:
        setattr(value, attrs.fields(kind)[0].name, None)
    except attrs.exceptions.FrozenInstanceError:
        return False
    return True


def test_what_can_be_hashed_of_a_record_never_changes() -> None:
    """A copy shares it."""
    names = [each.name for each in iter_modules(records.__path__, f"{records.__name__}.")]
    modules = [import_module(name) for name in names]
    every = {each for module in modules for each in vars(module).values() if attrs.has(each)}
    assert {Lot, Run, TopUp, TopUpRules} <= every
    for kind in every | {Changes, OrgState}:
        assert can_change(kind) == (kind.__hash__ is None), kind
