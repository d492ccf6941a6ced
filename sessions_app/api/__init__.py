"""The JSON API under /api/v1/: what agents write, and what clients read back."""
