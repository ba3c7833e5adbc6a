"""The models of the instance that is measured: those of the settings as they come."""

from actors.models import ModelsConfig
from cluster.compose import models
from configs.settings import load


def models_config() -> ModelsConfig:
    """Return the models that an instance with this environment has."""
    return ModelsConfig.of(models(load()))
