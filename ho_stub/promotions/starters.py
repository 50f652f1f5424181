"""What stands in a new promotion's rules before anybody has written them: one example of each type."""

from typing import Any

RULES: dict[str, dict[str, Any]] = {
    "percent_discount": {"discount_percent": "10"},
    "amount_discount": {"discount_amount": "5000", "per": "unit"},
    "buy_x_get_y": {"buy_quantity": "2", "get_quantity": "1"},
    "combo": {"groups": [{"products": ["SKU"]}, {"categories": ["CODE"]}], "fixed_price": "30000"},
    "free_item": {"free_products": ["SKU"], "free_quantity": "1", "min_amount": "150000"},
    "happy_hour": {"discount_percent": "25"},
    "cashback": {"cashback_percent": "5", "paid_as": "points", "valid_days": 90},
    "payment_discount": {"methods": ["card"], "discount_percent": "5"},
    "package": {"items": [{"product": "SKU", "quantity": "2"}], "fixed_price": "60000"},
    "mix_match": {"quantity": "3", "fixed_price": "40000"},
    "upsell": {"offer_products": ["SKU"], "discount_percent": "50", "message": "One more at half price?"},
    "threshold_tier": {
        "basis": "amount",
        "tiers": [{"from": "100000", "discount_percent": "5"}, {"from": "250000", "discount_percent": "10"}],
    },
}
