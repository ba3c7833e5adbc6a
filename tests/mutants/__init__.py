"""Safety mutants: the engine broken on purpose, one place at a time, to prove that the tests notice. `make mutants` tries them all."""
