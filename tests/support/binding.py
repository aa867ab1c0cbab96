"""Steps for the tables of what fills the parameters of a step: some give a value, some take values in every way there is."""

from __future__ import annotations

import functools

from dotflow import Skip, action

# --- steps that are parents


@action
def rows():
    return [1, 2]


@action
def table():
    return "events"


@action
def nothing():
    raise Skip("none today")


@action
def broken():
    raise ValueError("no")


@action
def region(initial_context):
    return initial_context.storage


@action
def ten_times(row):
    return row * 10


@action
class Two:
    @action
    def first(self):
        return 1

    @action
    def second(self, previous_context):
        return previous_context.storage + 1


# --- steps that are given something


@action
def takes_rows(rows):
    return rows


@action
def takes_both(rows, table):
    return rows, table


@action
def takes_any(anything):
    return anything


@action
def takes_any_and_table(anything, table="t"):
    return anything, table


@action
def has_defaults(rows="none", table="t"):
    return rows, table


@action
def takes_rest(rows, **options):
    return rows, options


@action
def takes_more(*more, rows):
    return more, rows


@action
def by_position(factor=3, /, *, rows):
    return factor, rows


@action
def keyword_only(*, rows, table="t"):
    return rows, table


@action
async def is_async(rows, table="t"):
    return rows, table


@action
def takes_previous(previous_context):
    return previous_context.storage


@action
def takes_all(initial_context, previous_context, rows, table="t"):
    return initial_context.storage, previous_context.storage, rows, table


@action
def previous_and_default(previous_context, table="t"):
    return previous_context.storage, table


@action
def previous_and_more(previous_context, anything):
    return previous_context.storage, anything


@action
def takes_family(region):
    return region


@action
def takes_item(row, table="t"):
    return row, table


@action
def pairs(left, right):
    return left, right


@action
def with_rest_only(**options):
    return options


@action
def takes_nothing():
    return "ran"


def plain(function):
    """A decorator that knows nothing of dotflow."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


@action
@plain
def decorated(rows, table="t"):
    return rows, table


@action
def by_position_only(rows, /):
    return rows


def generates():
    yield 1


async def generates_async():
    yield 1


@action
class Load:
    def __init__(self, rows, table="t", *, initial_context):
        self.given = rows, table, initial_context.storage

    @action
    def load(self):
        return self.given

    @action
    def again(self, previous_context):
        return previous_context.storage[1]


@action
class LoadsPrevious:
    def __init__(self, table):
        self.table = table

    @action
    def load(self, previous_context):
        return previous_context.storage, self.table


class Store:
    def __init__(self, name: str) -> None:
        self.name = name

    @action
    def load(self, rows, table="t"):
        return self.name, rows, table

    @action
    async def load_async(self, rows):
        return self.name, rows


class Called:
    def __call__(self, rows, table="t"):
        return rows, table


STORE = Store("store")


ROWS = (rows, {"after": []})
TABLE = (table, {"after": []})
FAMILY = [(region, {"after": [], "key": key, "initial_context": key.upper()}) for key in ("eu", "us")]
