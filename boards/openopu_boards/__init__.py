"""Boards that carry the gateware, one file a board."""
