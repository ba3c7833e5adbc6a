import pytest

from tests.unit.actors.plant import Plant


@pytest.fixture
async def plant():
    made = Plant()
    yield made
    await made.close()
