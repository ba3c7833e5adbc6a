"""Conversations in memory, as one execution sees them: what is asked for again under a key is not done again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from workflow.conversations import Said, Saying

AT_MS = 1_700_000_000_123


@dataclass
class KeptConversations:
    kept: dict[str, list[Said]] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)

    async def read(self, conversation_id: str, limit: int) -> list[Said]:
        return self.kept.get(conversation_id, [])[-limit:]

    async def add(self, conversation_id: str, messages: Sequence[Saying], key: str) -> int:
        if key not in self.given:
            said = self.kept.setdefault(conversation_id, [])
            for message in messages:
                said.append(
                    Said(
                        number=len(said) + 1,
                        role=message.role,
                        content=message.content,
                        metadata=message.metadata,
                        at_ms=AT_MS,
                    )
                )
            self.given[key] = len(messages)
        return self.given[key]

    async def clear(self, conversation_id: str, key: str) -> int:
        if key not in self.given:
            self.given[key] = len(self.kept.pop(conversation_id, ()))
        return self.given[key]
