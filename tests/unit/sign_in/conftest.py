"""The control plane with a provider and Redis."""

from tests.unit.web.conftest import Shaky, closed_office, office, shaky

__all__ = ["Shaky", "closed_office", "office", "shaky"]
