"""Money: whole nano-dollars in the database, Decimal dollars everywhere else. Nothing outside this module knows of the integers.

SQLite keeps a DECIMAL as a float (a sum of 10,001 rows was off by $0.00023), so a cost is a BigInteger of nano-dollars: exact in
Sum, Max, group-by, filters and F() updates on both databases. The field subclasses Field, not BigIntegerField, because Django treats
the latter's Avg and F+F as plain integers and skips the conversion back.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from django.db import models
from django.db.models.expressions import Combinable, register_combinable_fields

NANO = Decimal("0.000000001")
PER_DOLLAR = 1_000_000_000
ZERO = Decimal("0E-9")


def rounded(dollars: Decimal) -> Decimal:
    """Round dollars half-even to whole nano-dollars: done once, when a price is recorded."""
    with localcontext() as context:
        context.prec = 40
        return dollars.quantize(NANO, rounding=ROUND_HALF_EVEN)


def to_nano(dollars: Decimal | int | str) -> int:
    """Return dollars as whole nano-dollars, rounded half-even."""
    if (
        type(dollars) is Decimal and dollars.as_tuple().exponent == -9 and dollars.adjusted() < 12
    ):  # rounded before, as almost every amount here
        return int(dollars.scaleb(9))
    return int(rounded(Decimal(dollars)).scaleb(9))


def from_nano(nano: int) -> Decimal:
    """Return whole nano-dollars as dollars with nine decimals."""
    return Decimal(nano).scaleb(-9)


class NanoUSDField(models.Field):
    """Dollars as Decimal in Python, whole nano-dollars in a BigInteger column. Largest value: $9.2 thousand million."""

    description = "US dollars, exact to the nano-dollar"

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        return Decimal(str(value))

    def get_prep_value(self, value: Any) -> int | None:
        value = super().get_prep_value(value)
        dollars = self.to_python(value)
        return None if dollars is None else to_nano(dollars)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        # Sum is a Decimal on PostgreSQL and Avg has a fraction on both, so nano-dollars are not always an int here.
        if type(value) is int:
            return from_nano(value)
        return None if value is None else rounded(Decimal(value).scaleb(-9))

    def formfield(self, **kwargs: Any) -> Any:
        from django import forms

        return super().formfield(**{"form_class": forms.DecimalField, "decimal_places": 9, **kwargs})


for connector in (Combinable.ADD, Combinable.SUB):
    register_combinable_fields(NanoUSDField, connector, NanoUSDField, NanoUSDField)
