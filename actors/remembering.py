"""The conversations of a workspace, as the nodes of one execution see them. Where the database does not answer, they wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from actors.outside import patiently
from store.conversations import Speaker, StoredConversations
from workflow.conversations import Conversations, Said, Saying
from workflow.ports import Claimed


@dataclass(frozen=True, slots=True)
class Remembering:
    """Gives each execution the conversations of its workspace."""

    stored: StoredConversations

    def of(self, claimed: Claimed) -> Conversations:
        """Return those of an execution's workspace."""
        speaker = Speaker(
            workspace_id=claimed.workspace_id,
            execution_id=claimed.id,
            workflow_id=claimed.workflow_id,
            user_id=claimed.triggered_by,
        )
        return ExecutionConversations(self.stored, speaker)


@dataclass(frozen=True, slots=True)
class ExecutionConversations:
    """`workflow.conversations.Conversations` over the store."""

    stored: StoredConversations
    speaker: Speaker

    async def read(self, conversation_id: str, limit: int) -> list[Said]:
        """Return the last messages of a conversation, oldest first."""
        return await patiently(lambda: self.stored.last(self.speaker.workspace_id, conversation_id, limit))

    async def add(self, conversation_id: str, messages: Sequence[Saying], key: str) -> int:
        """Add messages behind what was said, once under the key; how many these were."""
        return await patiently(lambda: self.stored.add(self.speaker, conversation_id, messages, key))

    async def clear(self, conversation_id: str, key: str) -> int:
        """Delete a conversation, once under the key; how many messages it had."""
        return await patiently(lambda: self.stored.clear(self.speaker, conversation_id, key))
