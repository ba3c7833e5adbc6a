"""The way to models that the cluster holds: where they shall compute, and where no GPU is."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import ray

from actors.model_access import ModelAccess
from actors.model_hosts import RayModels
from actors.models import Adapter, HostedLanguageModel, HostedModel, ModelsConfig, ModelSource, Provider
from actors.room import has_gpu_for
from tests.models import WordModels
from workflow.errors import NodeError
from workflow.models import ChatRequest, Gpu, Message, Ran, Role

SMALL = HostedLanguageModel(source=ModelSource(name="small", source="/small"))
CONFIG = ModelsConfig(
    provider="local",
    providers=(Provider(name="local", adapter=Adapter.HOSTED, model="small"),),
    language=(SMALL,),
)
ASKED = ChatRequest(messages=[Message(role=Role.USER, content="hello")])


class Hosted(WordModels):
    """Keeps where it was asked to compute."""

    wishes: tuple[Gpu, ...] = ()

    async def chunks(self, model: Any, request: ChatRequest, gpu: Gpu) -> AsyncIterator[Mapping[str, Any] | Ran]:
        self.wishes += (gpu,)
        async for chunk in super().chunks(model, request, gpu):
            yield chunk


@pytest.mark.parametrize("gpu", list(Gpu))
async def test_a_held_language_model_computes_where_the_request_wants_it(gpu):
    hosted = Hosted()

    await ModelAccess(CONFIG, hosted).answer(replace(ASKED, gpu=gpu))

    assert hosted.wishes == (gpu,)


@pytest.mark.parametrize(
    ("gpu", "accelerator", "hosts", "there"),
    [
        (0.25, "", [{"GPU": 1.0}], True),
        (0.25, "", [{"CPU": 8.0}], False),
        (0.0, "", [{"GPU": 1.0}], False),
        (2.0, "", [{"GPU": 1.0}, {"GPU": 1.0}], False),
        (0.5, "A100", [{"GPU": 1.0, "accelerator_type:T4": 1.0}], False),
        (0.5, "A100", [{"GPU": 1.0}, {"GPU": 1.0, "accelerator_type:A100": 1.0}], True),
        (0.5, "A100", [], False),
    ],
)
def test_a_model_uses_a_gpu_of_its_type_that_is_large_enough(gpu, accelerator, hosts, there):
    model = HostedModel(source=SMALL.source, gpu=gpu, accelerator=accelerator)
    assert has_gpu_for(model, hosts) is there


@pytest.mark.parametrize(
    ("gpu", "said"), [(0.0, "not configured to use one"), (0.5, "no host of the cluster has 0.5 of type T4")]
)
async def test_a_gpu_that_is_required_and_is_not_there_is_an_error_at_once(monkeypatch, gpu, said):
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 8.0}}])
    config = replace(CONFIG, language=(replace(SMALL, gpu=gpu, accelerator="T4"),))

    with pytest.raises(NodeError, match=said) as caught:
        await ModelAccess(config, RayModels(config)).answer(replace(ASKED, gpu=Gpu.REQUIRED))

    assert (caught.value.code, caught.value.retryable) == ("gpu_unavailable", False)
