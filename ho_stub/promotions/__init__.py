"""Promotions as head office's people define them, compiled to the JSON that stores are sent (docs/promotions.md)."""

from ho_stub.promotions.compile import COMPILER_VERSION, compile_promotion
from ho_stub.promotions.fields import InvalidDefinition
from ho_stub.promotions.kept import Promotions

__all__ = ["COMPILER_VERSION", "InvalidDefinition", "Promotions", "compile_promotion"]
