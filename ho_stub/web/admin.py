"""The small admin: products and promotions, so that one can change something and watch a till follow."""

from fastapi import APIRouter

from ho_stub.web import admin_products, admin_promotions

router = APIRouter(include_in_schema=False)
router.include_router(admin_products.router)
router.include_router(admin_promotions.router)
