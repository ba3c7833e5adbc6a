"""What a workflow is, and what happens next.

Pure: no Ray, no SQL, no HTTP, no clock, no randomness, no environment. `document` is what people write, `compile` checks it
and makes a `plan`, `machine` folds `events` over it and answers with `commands`. `spec` is what a node author needs, `ports`
is what the engine asks of its surroundings, `errors` is the one tree of errors.
"""
