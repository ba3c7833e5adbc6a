"""The history of the tables. Embedded in the package, applied by `store.migrate` at start."""
