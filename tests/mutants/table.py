"""All mutants."""

from tests.mutants.of_engine import OF_ENGINE
from tests.mutants.of_models import OF_MODELS
from tests.mutants.of_resting import OF_RESTING
from tests.mutants.of_store import OF_STORE

MUTANTS = (*OF_STORE, *OF_ENGINE, *OF_RESTING, *OF_MODELS)
