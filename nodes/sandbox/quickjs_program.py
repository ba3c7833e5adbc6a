"""What runs inside a QuickJS worker process: reads requests from its socket (descriptor 0), answers them, one by one.

Started by path in an isolated interpreter without packages, so it imports nothing of ours; `engine_worker` is the
other end. Each request gets a runtime of its own. The user's text and arguments arrive as JSON, never as code.
"""

import importlib.util
import resource
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

REQUEST = struct.Struct("!QdQ")
ANSWER = struct.Struct("!BQQ")
VALUE, ERROR, ENGINE = 0, 1, 2
STACK_BYTES = 512 * 1024
LOG_ROOM_BYTES = 2 * 2**20
MARK = "\u0001"

# All that it needs of the built-ins it takes before the user's code runs, which may change them.
DRIVER = r"""
(function (requestText) {
  "use strict";
  const parse = JSON.parse, stringify = JSON.stringify, apply = Reflect.apply, construct = Reflect.construct;
  const slice = Function.prototype.call.bind(String.prototype.slice);
  const toText = String, ErrorType = Error, PromiseType = Promise, FunctionType = Function;
  const request = parse(requestText);
  let logged = "", stage = "parse", index = -1;

  const shown = (value) => {
    if (typeof value === "string") return value;
    try {
      if (value instanceof ErrorType) return toText(value);
      const text = stringify(value);
      return text === undefined ? toText(value) : text;
    } catch { return "[cannot be shown]"; }
  };
  const log = (...parts) => {
    if (logged.length > request.logCharsMax) return;
    let line = "";
    for (let i = 0; i < parts.length; i++) line += (i ? " " : "") + shown(parts[i]);
    logged += slice(line, 0, request.logCharsMax) + "\n";
  };
  globalThis.console = { log, info: log, warn: log, error: log, debug: log };

  const report = (error) => {
    let name = "", message = "", stack = "";
    try {
      if (error instanceof ErrorType) {
        name = toText(error.name); message = toText(error.message); stack = toText(error.stack);
      } else if (error === null) {
        // What the engine throws when it has no memory for an error.
        name = "InternalError"; message = "out of memory";
      } else message = "thrown: " + shown(error);
    } catch { message = "the error cannot be shown"; }
    return "\u0001" + stringify({
      stage, index, name: slice(name, 0, 200), message: slice(message, 0, 4000), stack: slice(stack, 0, 4000),
    });
  };
  const written = (value) => {
    stage = "result";
    if (value instanceof PromiseType) throw "it is a Promise; there is nothing to wait for in a code node";
    const text = stringify(value);
    return text === undefined ? "null" : text;
  };
  const checked = (text) => {
    if (text.length > request.resultCharsMax) throw "it is larger than " + request.resultCharsMax + " characters";
    return text;
  };
  const attempt = () => {
    try {
      const parameters = request.names;
      parameters[parameters.length] = request.body;
      const body = construct(FunctionType, parameters);
      if (!request.each) {
        stage = "run";
        return checked(written(apply(body, undefined, request.values)));
      }
      let text = "[";
      for (index = 0; index < request.values.length; index++) {
        stage = "run";
        text = checked(text + (index ? "," : "") + written(apply(body, undefined, [request.values[index]])));
      }
      return text + "]";
    } catch (error) { return report(error); }
  };
  // The binding cannot read a string that is still a rope of pieces; a slice is flat.
  return (wanted) => (wanted === "logs" ? stringify(logged) : slice(attempt(), 0));
})
"""


def evaluate(quickjs: Any, request: str, seconds: float, memory_bytes: int) -> tuple[int, bytes, bytes]:
    """Run one request in a fresh runtime; return the kind of the answer, the answer and the logs."""
    context = quickjs.Context()
    context.set_max_stack_size(STACK_BYTES)
    context.set_memory_limit(memory_bytes)
    context.set_time_limit(seconds)
    logs = b'""'
    try:
        driver = context.eval(DRIVER)(request)
    except quickjs.JSException as error:
        return ENGINE, str(error).encode("utf-8", "replace"), logs
    try:
        text = driver("answer")
        kind = ERROR if text.startswith(MARK) else VALUE
        answer = text.removeprefix(MARK).encode()
    except quickjs.JSException as error:
        kind, answer = ENGINE, str(error).encode("utf-8", "replace")
    try:
        context.set_memory_limit(memory_bytes + LOG_ROOM_BYTES)
        context.set_time_limit(1)
        logs = driver("logs").encode()
    except quickjs.JSException:
        logs = b'""'
    return kind, answer, logs


def receive(connection: socket.socket, size: int) -> bytes:
    """Read exactly that many bytes; end the process when the other end is gone."""
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(size - len(data), 1 << 20))
        if not piece:
            sys.exit(0)
        data += piece
    return bytes(data)


def load_engine(path: str) -> Any:
    """Load the engine's extension module from its file; end the process where it does not load."""
    spec = importlib.util.spec_from_file_location(Path(path).name.partition(".")[0], path)
    if spec is None or spec.loader is None:
        sys.exit(1)
    quickjs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quickjs)
    return quickjs


def serve(evaluate: Callable[[bytes, float, int], tuple[int, bytes, bytes]], prepare: Callable[[], None]) -> None:
    """Answer requests until the socket closes; `prepare` runs after each answer."""
    connection = socket.socket(fileno=0)
    connection.sendall(b"\0")
    while True:
        size, seconds, memory_bytes = REQUEST.unpack(receive(connection, REQUEST.size))
        # An orphan in the middle of a step that cannot be interrupted is ended by the kernel.
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = int(used.ru_utime + used.ru_stime + seconds) + 5
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s if hard == resource.RLIM_INFINITY else min(cpu_s, hard), hard))
        kind, answer, logs = evaluate(receive(connection, size), seconds, memory_bytes)
        connection.sendall(ANSWER.pack(kind, len(answer), len(logs)) + answer + logs)
        prepare()


def main(engine_path: str) -> None:
    """Serve requests until the socket closes."""
    quickjs = load_engine(engine_path)

    def run(request: bytes, seconds: float, memory_bytes: int) -> tuple[int, bytes, bytes]:
        return evaluate(quickjs, request.decode(), seconds, memory_bytes)

    serve(run, lambda: None)


if __name__ == "__main__":
    main(sys.argv[1])
