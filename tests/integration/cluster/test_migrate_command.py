"""`rayloom migrate`: from nothing to the present tables, and again without a change."""

import json
import secrets
import sys

import pytest
from psycopg import sql

from cluster import cli
from store.embedded import EmbeddedServer
from tests.conftest import database_dsn, run_sql


def rayloom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["rayloom", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    written = capsys.readouterr()
    return int(ended.value.code or 0), written.out, written.err


def test_a_given_database_is_migrated_and_the_revisions_are_told(
    postgres_server: EmbeddedServer, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"migrate_{secrets.token_hex(4)}"
    run_sql(postgres_server.dsn, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    monkeypatch.setenv("RAYLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", database_dsn(postgres_server, name))

    first = rayloom(monkeypatch, capsys, "migrate", "--json")
    again = rayloom(monkeypatch, capsys, "migrate")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    away = rayloom(monkeypatch, capsys, "migrate")
    run_sql(postgres_server.dsn, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    assert (first[0], json.loads(first[1])) == (0, {"before": None, "after": "0012"})
    assert "at revision 0012 already" in again[1]
    assert away[0] == 1
    assert "the database does not answer" in away[2]
