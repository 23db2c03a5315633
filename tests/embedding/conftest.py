"""Here a world stands where `align` starts."""

from pathlib import Path

import pytest


@pytest.fixture
def start_world(built_world: Path) -> Path:
    return built_world
