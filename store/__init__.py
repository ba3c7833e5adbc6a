"""What survives: the PostgreSQL tables, their migrations and repositories, the group-commit writer, the embedded server."""
