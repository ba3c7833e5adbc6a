"""What survives: PostgreSQL tables, migrations and repositories, the group-commit writer, the embedded server."""
