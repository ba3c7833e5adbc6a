"""Errors as problems: what callers see of them, and what they do not."""

import httpx2
import pytest
from fastapi import FastAPI

from serve_app.problems import answer_errors
from workflow.errors import Conflict, RayloomError, StoreUnavailable


async def asked(error: RayloomError) -> httpx2.Response:
    app = FastAPI()
    answer_errors(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
        return await client.get("/")


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Conflict("it has ended", fields={"state": "failed"}), 409, "it has ended"),
        (StoreUnavailable("connection to 10.0.0.7:5432 refused"), 503, "the database does not answer just now"),
    ],
)
async def test_a_problem_says_what_the_caller_may_know(error: RayloomError, status: int, detail: str):
    answer = await asked(error)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == detail
    assert answer.json()["code"] == error.code
    assert "10.0.0.7" not in answer.text
