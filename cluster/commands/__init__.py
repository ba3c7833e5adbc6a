"""The commands of `rayloom`, one module for each thing that they are about."""
