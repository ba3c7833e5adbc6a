"""A storm: a whole Rayloom under load while its processes are killed, and a judgement by what was seen from outside."""
