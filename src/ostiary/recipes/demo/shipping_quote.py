"""A recipe that takes its input from the query, and knows who calls."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

from ostiary.recipes import Context, recipe

PER_KG = {"DE": Decimal("1.20"), "FR": Decimal("1.80"), "US": Decimal("6.50")}


class Parcel(BaseModel):
    weight_kg: Decimal = Field(gt=0, le=70)
    country: Literal["DE", "FR", "US"]


class Quote(BaseModel):
    country: str
    price: Decimal
    currency: str = "EUR"
    quoted_for_profile: int


@recipe(name="shipping_quote", version="1.0")
def shipping_quote(parcel: Parcel, context: Context) -> Quote:
    """Quote the price of sending a parcel."""
    price = Decimal("3.90") + parcel.weight_kg * PER_KG[parcel.country]
    return Quote(
        country=parcel.country,
        price=price.quantize(Decimal("0.01")),
        quoted_for_profile=context.caller.profile,
    )
