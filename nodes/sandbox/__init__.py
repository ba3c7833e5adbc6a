"""Runs user code in worker processes that have nothing: no files, no network, no environment, no inherited descriptors.

Python runs in Monty, an interpreter that has no way out by construction; JavaScript and expressions run in QuickJS. Both run in
processes of their own, because only a process can be stopped whatever it is doing: QuickJS looks at its time limit
between steps, and a single step (`"a".repeat(400000).includes("a".repeat(200000) + "b")`) was seen to take 44 s under a
limit of 0.3 s. Its limit also counts the processor time of all threads, which in a process of its own is just right.
"""

from nodes.sandbox.local import LocalSandbox

__all__ = ["LocalSandbox"]
