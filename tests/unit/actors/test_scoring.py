"""A real cross-encoder, small and with weights of chance: its scores are the same again, and each call gets its own."""

import hashlib
from dataclasses import replace

import pytest

from actors.model_access import ModelAccess
from actors.model_hosts import RayModels
from actors.models import HostedModel, ModelsConfig, ModelSource
from actors.scoring import ScoringModel
from actors.weights import WEIGHTS
from tests.rankers import made_ranker
from workflow.errors import NodeError

QUERY, OTHER = "clean the loom", "tax law"
TEXTS = ["dry cloth", "the tax law", "clean", "loom " * 500]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    folder = made_ranker(tmp_path_factory.mktemp("models") / "ranker")
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    return ModelSource(name="tiny", source=str(folder), sha256=digest)


@pytest.fixture(scope="module")
def model(source: ModelSource) -> ScoringModel:
    return ScoringModel(source, threads=1)


def test_calls_get_their_own_scores_back_whatever_else_is_in_the_batch(model: ScoringModel):
    together = model.score([(QUERY, TEXTS[:1]), (OTHER, []), (OTHER, TEXTS), (QUERY, TEXTS[1:])])
    alone = {(query, text): model.score([(query, [text])])[0][0] for query in (QUERY, OTHER) for text in TEXTS}

    assert [len(each) for each in together] == [1, 0, 4, 3]
    assert together[0] + together[3] == pytest.approx([alone[QUERY, text] for text in TEXTS], abs=1e-5)
    assert together[2] == pytest.approx([alone[OTHER, text] for text in TEXTS], abs=1e-5)
    assert len(set(alone.values())) == 8, "both the query and the text count"
    assert model.score([]) == []
    assert model.score([(QUERY, [])]) == [[]]


def test_the_same_is_scored_the_same_again_and_by_another_replica(model: ScoringModel, source: ModelSource):
    assert model.score([(QUERY, TEXTS)]) == model.score([(QUERY, TEXTS)])
    assert ScoringModel(source, threads=1).score([(QUERY, TEXTS)]) == model.score([(QUERY, TEXTS)])


def test_other_weights_are_refused(source: ModelSource):
    with pytest.raises(NodeError) as caught:
        ScoringModel(replace(source, sha256="0" * 64), threads=1)
    assert (caught.value.code, caught.value.retryable) == ("model_altered", False)


def test_a_model_that_tells_classes_apart_does_not_rank(tmp_path):
    with pytest.raises(NodeError) as caught:
        ScoringModel(ModelSource(name="classes", source=str(made_ranker(tmp_path / "classes", 3))), threads=1)
    assert (caught.value.code, caught.value.retryable) == ("model_unknown", False)


async def test_without_a_configured_ranker_the_error_says_what_to_configure(source: ModelSource):
    config = ModelsConfig(rankers=(HostedModel(source=source),))

    with pytest.raises(NodeError) as caught:
        await ModelAccess(config, RayModels(config)).score(QUERY, TEXTS)

    assert (caught.value.code, caught.value.retryable) == ("no_ranker", False)
    assert "models.ranking" in caught.value.message
    assert "tiny" in caught.value.message
    assert config.ranker_named("tiny").source is source
    assert replace(config, ranking="tiny").ranker_named("").source is source
    with pytest.raises(NodeError) as caught:
        config.ranker_named("other")
    assert caught.value.code == "model_unknown"
