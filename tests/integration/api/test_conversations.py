"""Conversations over HTTP: executions add to them and read them; people look at them and take them away."""

from typing import Any
from urllib.parse import quote

from tests.integration.api.conftest import Api

LLM = {
    "id": "ask",
    "type": "ai.llm",
    "config": {"prompt": "{{ $json.q }}", "conversation_id": "{{ $json.chat }}", "memory_limit": 10},
}
READ = {"id": "read", "type": "ai.memory", "config": {"conversation_id": "{{ $json.chat }}"}}


async def run(api: Api, node: dict[str, Any], **given: Any) -> dict[str, Any]:
    ended = (await api.run(node, given=given)).json()
    assert ended["status"] == "completed", ended
    return ended["output"][node["id"]][0]


async def test_what_executions_say_is_remembered_and_shown(api: Api):
    await run(api, LLM, q="first question", chat="ada")
    await run(api, LLM, q="second question", chat="ada")
    await run(api, LLM, q="other", chat="bob")

    read = await run(api, READ, chat="ada")
    listed = (await api.call("GET", "conversations?limit=1", by="viewer")).json()
    rest = (await api.call("GET", f"conversations?limit=1&cursor={listed['next_cursor']}")).json()
    page = (await api.call("GET", "conversations/ada/messages?limit=3", by="viewer")).json()
    last = (await api.call("GET", f"conversations/ada/messages?limit=3&cursor={page['next_cursor']}")).json()

    questions = ("first question", "second question")  # the parrot puts a space behind each word
    said = [each for question in questions for each in (("user", question), ("assistant", f"{question} "))]
    assert [(message["role"], message["content"]) for message in read["messages"]] == said
    assert [(one["conversation_id"], one["message_count"]) for one in (*listed["items"], *rest["items"])] == [
        ("bob", 2),
        ("ada", 4),
    ]
    assert rest["next_cursor"] is None
    messages = [*page["items"], *last["items"]]
    assert [(message["number"], message["role"], message["content"]) for message in messages] == [
        (number, *each) for number, each in enumerate(said, 1)
    ]
    assert [message["at"] for message in messages] == [message["at"] for message in read["messages"]]
    assert last["next_cursor"] is None


async def test_a_conversation_is_deleted_and_one_that_is_not_there_is_not_found(api: Api):
    name = "chat/with ada?/messages"
    await run(api, LLM, q="a", chat=name)
    path = f"conversations/{quote(name, safe='')}"

    assert len((await api.call("GET", f"{path}/messages")).json()["items"]) == 2
    assert (await api.call("DELETE", path, by="viewer")).status_code == 403
    assert (await api.call("DELETE", path, by="member")).status_code == 204
    for method, wanted in (("GET", f"{path}/messages"), ("DELETE", path)):
        answer = await api.call(method, wanted)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_names_no_conversation_is_refused(api: Api):
    for name in ("%00", "x" * 201, "%20", "a%09b"):
        answer = await api.call("GET", f"conversations/{name}/messages")
        assert (answer.status_code, answer.json()["code"]) == (422, "conversation_id_invalid"), name
    answer = await api.call("GET", "conversations?cursor=nonsense")
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")
