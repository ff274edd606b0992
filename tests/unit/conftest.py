import pytest
from hypothesis import settings

from aggregator.rules import deciding
from tests.unit.world import World, populated

# A deadline would measure the machine and not the code.
settings.register_profile("unit", parent=settings.default, deadline=None, max_examples=50)
settings.load_profile("unit")


@pytest.fixture(params=["compiled", "python"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    """One partition, in which nothing has happened yet; judged with the compiled short way, and without it."""
    if request.param == "python":
        monkeypatch.setattr(deciding, "compiled", None)
    return populated()
