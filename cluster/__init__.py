"""The hosts: the keeper that keeps PostgreSQL, Ray and the API alive, the home with its secrets, the command line."""
