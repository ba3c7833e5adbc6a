"""What runs, in Ray: the execution actor, the supervisor with its pool, placement of work, Ray tasks."""
