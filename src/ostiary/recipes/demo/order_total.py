"""A recipe with nested input: what an order costs."""

from decimal import Decimal

from pydantic import BaseModel, Field

from ostiary.recipes import recipe


class Item(BaseModel):
    price: Decimal = Field(ge=0, max_digits=12, decimal_places=2)
    quantity: int = Field(ge=1, le=10_000)


class Order(BaseModel):
    items: list[Item] = Field(min_length=1, max_length=1000)
    discount_percent: int = Field(0, ge=0, le=100)


class OrderTotal(BaseModel):
    items: int
    total: Decimal


@recipe(name="order_total", version="1.0")
def order_total(order: Order) -> OrderTotal:
    """Add up the items of an order, less a discount."""
    whole = sum((item.price * item.quantity for item in order.items), Decimal(0))
    total = whole * (100 - order.discount_percent) / 100
    return OrderTotal(
        items=sum(item.quantity for item in order.items), total=total.quantize(Decimal("0.01"))
    )
