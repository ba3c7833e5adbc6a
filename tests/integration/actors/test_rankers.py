"""A ranker on Ray Serve: its replica comes with the first work, scores what comes at once, and tells where."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import model_hosts
from actors.model_access import ModelAccess
from actors.models import HostedModel, ModelsConfig, ModelSource
from actors.scoring import ScoringModel
from tests.rankers import made_ranker
from workflow.errors import NodeError
from workflow.models import Gpu

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Serve's own

TEXTS = [f"{word} the loom" for word in ("clean", "tax", "dry", "cloth")]


@pytest.fixture(scope="module")
def config(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelsConfig]:
    from ray import serve

    folder: Path = made_ranker(tmp_path_factory.mktemp("models") / "ranker")
    source = ModelSource(name="tiny", source=str(folder))
    made = ModelsConfig(ranking="tiny", rankers=(HostedModel(source=source, gpu=0.5),))
    serve.start(proxy_location="Disabled")
    model_hosts.deploy(made)
    yield made
    serve.shutdown()


async def test_those_who_ask_at_once_get_their_own_scores(config: ModelsConfig) -> None:
    models = ModelAccess(config, model_hosts.RayModels(config))
    first = await models.score("clean", TEXTS)
    long = [TEXTS[number % 4] for number in range(150)]
    (alone,) = ScoringModel(config.rankers[0].source, threads=1).score([("clean", TEXTS)])

    together = await asyncio.gather(*(models.score("clean", [text]) for text in TEXTS * 8), models.score("clean", long))

    assert first.values == pytest.approx(alone, abs=1e-5)
    assert [found.values[0] for found in together[:-1]] == pytest.approx(alone * 8, abs=1e-5)
    assert together[-1].values == pytest.approx((alone * 38)[:150], abs=1e-5)
    assert (first.ran.model, first.ran.gpu_ids, first.ran.batch_sizes) == ("tiny", (), (4,))
    assert first.ran.device in ("cpu float32", "cuda float32")
    assert len(together[-1].ran.batch_sizes) == 3, "in pieces of 64"
    assert (await models.score("clean", [])).values == []


async def test_a_gpu_that_is_not_there_is_refused_at_once(config: ModelsConfig) -> None:
    with pytest.raises(NodeError) as caught:
        await model_hosts.RayModels(config).score("clean", TEXTS, gpu=Gpu.REQUIRED)
    assert caught.value.code == "gpu_unavailable"
