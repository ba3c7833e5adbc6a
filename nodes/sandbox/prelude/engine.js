// Evaluates the scripts of one request: each of them for each row, every time with data that no other one can change.

const DEPTH_MAX = 100;
const MESSAGE_MAX = 1000;
const HEAD_LINES = 3;
// Functions of this prelude are at lines beyond this, those of expressions before it.
const PRELUDE_LINES = 100_000;

const frozen = (value) => {
  const todo = [value];
  while (todo.length) {
    const each = todo.pop();
    if (each === null || typeof each !== "object" || Object.isFrozen(each)) continue;
    Object.freeze(each);
    for (const key of Object.keys(each)) todo.push(each[key]);
  }
  return value;
};

const failed = (message) => { throw new Error(message); };

class NodeData {
  #name;
  #text;
  #current;
  #data = null;
  #all = null;

  constructor(name, text, current) {
    this.#name = name;
    this.#text = text;
    this.#current = current;
    Object.freeze(this);
  }

  #read() {
    if (this.#text === null) failed(`the node ${JSON.stringify(this.#name)} has not been executed`);
    if (this.#data === null) {
      const { outputs, paired } = JSON.parse(this.#text);
      this.#data = { outputs: new Map(outputs), paired };
      this.#all = outputs.flatMap(([, items]) => items);
    }
    return this.#data;
  }

  #list(handle) {
    const { outputs } = this.#read();
    return handle === undefined ? this.#all : outputs.get(handle) ?? [];
  }

  get isExecuted() { return this.#text !== null; }
  get items() { return frozen(this.#list().slice()); }
  all(handle) { return this.#list(handle).map(frozen); }
  first(handle) { return frozen(this.#list(handle)[0]); }
  last(handle) { return frozen(this.#list(handle).at(-1)); }
  get item() { return this.itemMatching(this.#current.index); }
  get json() { return this.item.json; }
  get binary() { return this.item.binary; }

  itemMatching(index) {
    const { outputs, paired } = this.#read();
    const [handle, at] = paired[index] ?? [];
    const found = outputs.get(handle)?.[at];
    if (found) return frozen(found);
    if (this.#all.length === 1) return frozen(this.#all[0]);
    return failed(
      `the node ${JSON.stringify(this.#name)} gave ${this.#all.length} items and it is not known which of them this item comes from`,
    );
  }
}

const inputOf = (text, current) => {
  let list = null;
  const items = () => (list ??= text === undefined ? [] : frozen(JSON.parse(text)));
  return {
    get item() { return { json: current.json, binary: current.binary }; },
    get items() { return items(); },
    all() { return [...items()]; },
    first() { return items()[0]; },
    last() { return items().at(-1); },
  };
};

// What every script sees whatever the item; `$json`, `$binary` and `$itemIndex` are given for each.
const scopeOf = (head, texts, current) => {
  const nodes = Object.entries(head.nodes).map(([name, at]) => [name, new NodeData(name, at === null ? null : texts[at], current)]);
  const byName = new Map(nodes);
  const $input = inputOf(texts[head.items ?? -1], current);
  const $now = new DateTime(head.now, head.zone);
  const scope = {
    $input,
    $items: head.items === null ? undefined : $input.items,
    $node: Object.freeze(Object.fromEntries(nodes)),
    $: (name) => byName.get(name) ?? failed(`there is no node ${JSON.stringify(name)}`),
    $runIndex: head.runIndex,
    $vars: frozen(head.vars),
    $env: frozen(head.env),
    $execution: frozen(head.execution),
    $workflow: frozen(head.workflow),
    $now,
    $today: $now.startOf("day"),
  };
  freezeFrom(scope);
  return scope;
};

const compiled = (source, scope) => {
  const body = `"use strict"; return ($json, $binary, $itemIndex) => (\n${source}\n)`;
  return new RealFunction(...Object.keys(scope), body)(...Object.values(scope));
};

const rowsOf = (script, texts, count) => {
  if (script.whole !== null) return JSON.parse(texts[script.whole]);
  const columns = Object.entries(JSON.parse(texts[script.columns])).map(([name, { values, missing }]) => [name, values, new Set(missing)]);
  const rows = new Array(count);
  for (let i = 0; i < count; i++) {
    const row = {};
    for (const [name, values, without] of columns) if (!without.size || !without.has(i)) row[name] = values[i];
    rows[i] = row;
  }
  return rows;
};

const tooDeep = (text) => {
  if (text.split("{").length + text.split("[").length - 2 <= DEPTH_MAX) return false;
  let depth = 0;
  for (const [mark] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{}]/g)) {
    if (mark === "{" || mark === "[") depth++; else if (mark === "}" || mark === "]") depth--;
    if (depth > DEPTH_MAX) return true;
  }
  return false;
};

const checked = (text) => {
  if (text.length > 2 * DEPTH_MAX && tooDeep(text)) throw new RangeError(`objects and lists may nest at most ${DEPTH_MAX} deep`);
  if (text.includes("\\u")) {
    if (/(?<!\\)(?:\\\\)*\\u0000/.test(text)) throw new RangeError("text must not contain the NUL character");
    if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(text)) throw new RangeError("text must not contain half of a surrogate pair");
  }
  return text;
};

const written = (value, asText) => {
  switch (typeof value) {
    case "undefined": return asText ? '""' : "null";
    case "number": {
      const text = Number.isFinite(value) ? String(value) : "null";
      return asText ? `"${text}"` : text;
    }
    case "boolean": return asText ? `"${value}"` : String(value);
    case "string": return checked(JSON.stringify(value));
    case "function": throw new TypeError("the value is a function; it has to be called");
    case "symbol": throw new TypeError("the value is a symbol");
    default:
  }
  if (value === null) return asText ? '""' : "null";
  if (value instanceof Promise) throw new TypeError("the value is a Promise; there is nothing to wait for");
  const text = JSON.stringify(value);
  if (text === undefined) return asText ? '""' : "null";
  if (!asText) return checked(text);
  return checked(text[0] === '"' ? text : text === "null" ? '""' : JSON.stringify(text));
};

const placeIn = (stack) => {
  for (const [, line, column] of stack.matchAll(/<input>:(\d+):(\d+)/g)) {
    if (Number(line) > PRELUDE_LINES) continue;
    return Number(line) > HEAD_LINES ? [Number(line) - HEAD_LINES, Number(column)] : [null, null];
  }
  return [null, null];
};

// Where there is no memory for an error, the engine throws null. An expression that throws null looks the same.
const outOfMemory = (error) => error === null || (error instanceof InternalError && error.message === "out of memory");

const reported = (error) => {
  let message = "the error cannot be shown", place = [null, null];
  try {
    if (error instanceof Error) {
      const [name, text] = [String(error.name), String(error.message)];
      message = text ? `${name}: ${text}` : name;
      place = placeIn(String(error.stack).slice(0, 10_000));
    } else message = `thrown: ${toText(error) || String(error)}`;
  } catch (other) {
    if (outOfMemory(other)) throw other;
  }
  return [message.slice(0, MESSAGE_MAX).toWellFormed().replaceAll("\0", " "), ...place];
};

const evaluate = (headText, ...texts) => {
  const head = JSON.parse(headText);
  missing.clear();
  for (const [name, table] of Object.entries(head.zones)) zones.set(name, table);
  clock.now = head.now;
  clock.zone = checkedZone(head.zone);
  chance.seed = head.seed;
  const current = { index: 0, json: null, binary: null };
  const scope = scopeOf(head, texts, current);
  const errors = [], columns = [];
  let left = head.outputCharsMax;

  const fail = (number, index, error) => {
    if (outOfMemory(error)) throw error;
    const report = reported(error);
    errors.push([number, index, ...report]);
    left -= report[0].length;
  };

  for (const [number, script] of head.scripts.entries()) {
    const { asText } = script, column = new Array(head.count).fill("null");
    let run = null;
    try {
      run = compiled(script.source, scope);
    } catch (error) {
      for (let index = 0; index < head.count; index++) fail(number, index, error);
    }
    const rows = run === null ? [] : rowsOf(script, texts, head.count);
    const files = head.binary === null ? null : JSON.parse(texts[head.binary]);
    chance.script = number;
    for (let index = 0; index < rows.length; index++) {
      chance.item = current.index = index;
      chance.draws = 0;
      const json = (current.json = rows[index]);
      const binary = (current.binary = files === null ? {} : files[index]);
      try {
        const text = written(run(json, binary, index), asText);
        left -= text.length + 1;
        column[index] = text;
      } catch (error) { fail(number, index, error); }
      if (left < 0) return '{"tooLarge":true}';
    }
    columns.push(`[${column.join(",")}]`);
  }
  const rest = `"errors":${JSON.stringify(errors)},"zones":${JSON.stringify([...missing])}`;
  // The binding cannot read a string that is still a rope of pieces; a slice is flat.
  return `{"values":[${columns.join(",")}],${rest}}`.slice(0);
};

lockDown(JmesError, NodeData);
return evaluate;
