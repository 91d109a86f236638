"""vecdb: a self-hosted vector database. ARCHITECTURE.md says which room answers which question."""

__version__ = "0.1.0"
