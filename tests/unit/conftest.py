import pytest
from hypothesis import settings

from tests.unit.world import World, populated

# A deadline would measure the machine and not the code.
settings.register_profile("unit", parent=settings.default, deadline=None, max_examples=50)
settings.load_profile("unit")


@pytest.fixture
def world() -> World:
    """One partition, in which nothing has happened yet."""
    return populated()
