// JMESPath: a text becomes a function of a value. Binding powers and projections follow the grammar of the language.

const POWERS = {
  "|": 1, "||": 2, "&&": 3, "==": 5, "!=": 5, "<": 5, "<=": 5, ">": 5, ">=": 5,
  "[]": 9, "*": 20, "[?": 21, ".": 40, "!": 45, "{": 50, "[": 55, "(": 60,
};
const PROJECTION_STOP = 10;
const JMES_TOKEN = /\s*(?:([A-Za-z_]\w*)|(-?\d+)|("(?:[^"\\]|\\[\s\S])*")|('(?:[^'\\]|\\[\s\S])*')|(`(?:[^`\\]|\\[\s\S])*`)|(\|\||&&|[=!<>]=|\[\]|\[\?|[.*[\]{}()?:,@&|!<>])|$)/y;

class JmesError extends Error {
  constructor(message) {
    super(message);
    Object.defineProperty(this, "name", { value: "JMESPathError" });
  }
}

const jmesLiteral = (text) => {
  const inner = text.slice(1, -1).replaceAll("\\`", "`").trim();
  try { return JSON.parse(inner); } catch { return fail(`the literal ${text} is not JSON`); }
};

const fail = (message) => { throw new JmesError(message); };

const jmesTokens = (text) => {
  const tokens = [];
  JMES_TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length; at = JMES_TOKEN.lastIndex) {
    JMES_TOKEN.lastIndex = at;
    const found = JMES_TOKEN.exec(text);
    if (!found || (found[0].trim() === "" && found.index + found[0].length < text.length)) fail(`position ${at}: ${JSON.stringify(text[at])} cannot stand here`);
    const [, name, number, quoted, raw, literal, mark] = found;
    if (name !== undefined) tokens.push({ kind: "name", value: name, at });
    else if (number !== undefined) tokens.push({ kind: "number", value: Number(number), at });
    else if (quoted !== undefined) {
      try { tokens.push({ kind: "quoted", value: JSON.parse(quoted), at }); } catch { fail(`position ${at}: ${quoted} is not a name`); }
    } else if (raw !== undefined) tokens.push({ kind: "literal", value: raw.slice(1, -1).replaceAll("\\'", "'").replaceAll("\\\\", "\\"), at });
    else if (literal !== undefined) tokens.push({ kind: "literal", value: jmesLiteral(literal), at });
    else if (mark !== undefined) tokens.push({ kind: mark, value: mark, at });
  }
  tokens.push({ kind: "end", value: "the end", at: text.length });
  return tokens;
};

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isTrue = (value) =>
  !(value === null || value === false || value === "" || (Array.isArray(value) && !value.length) || (isObject(value) && !Object.keys(value).length));
const same = (a, b) => {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, i) => same(each, b[i]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
};
const plainOf = (value) => (value === undefined ? null : value);
const identity = (value) => value;
const fieldOf = (name) => (value) => (isObject(value) && Object.hasOwn(value, name) ? plainOf(value[name]) : null);
const indexOf = (index) => (value) => (Array.isArray(value) ? plainOf(value.at(index)) : null);
const projected = (left, right) => (value) => {
  const list = left(value);
  return Array.isArray(list) ? list.map(right).filter((each) => each !== null) : null;
};
const projectedValues = (left, right) => (value) => {
  const object = left(value);
  return isObject(object) ? Object.values(object).map(right).filter((each) => each !== null) : null;
};
const projectedWhere = (left, condition, right) => (value) => {
  const list = left(value);
  return Array.isArray(list) ? list.filter((each) => isTrue(condition(each))).map(right).filter((each) => each !== null) : null;
};
const flattened = (left) => (value) => {
  const list = left(value);
  return Array.isArray(list) ? list.flat(1) : null;
};
const sliced = (start, stop, step) => (value) => {
  if (!Array.isArray(value)) return null;
  const by = step ?? 1, length = value.length, out = [];
  if (by === 0) fail("the step of a slice cannot be 0");
  const bound = (at, otherwise) => (at === null ? otherwise : at < 0 ? Math.max(at + length, by < 0 ? -1 : 0) : Math.min(at, by < 0 ? length - 1 : length));
  const from = bound(start, by < 0 ? length - 1 : 0), to = bound(stop, by < 0 ? -1 : length);
  for (let i = from; by < 0 ? i > to : i < to; i += by) out.push(value[i]);
  return out;
};
const COMPARISONS = {
  "==": same,
  "!=": (a, b) => !same(a, b),
  "<": (a, b) => codePointOrder(a, b) < 0,
  "<=": (a, b) => codePointOrder(a, b) <= 0,
  ">": (a, b) => codePointOrder(a, b) > 0,
  ">=": (a, b) => codePointOrder(a, b) >= 0,
};
const compared = (mark, left, right) => (value) => {
  const a = left(value), b = right(value);
  const ordered = typeof a === typeof b && (typeof a === "number" || typeof a === "string");
  if (mark !== "==" && mark !== "!=" && !ordered) return null;
  return COMPARISONS[mark](a, b);
};

class JmesParser {
  constructor(text) {
    this.tokens = jmesTokens(text);
    this.position = 0;
  }

  get kind() { return this.tokens[this.position].kind; }
  get power() { return POWERS[this.kind] ?? 0; }
  ahead(count) { return this.tokens[Math.min(this.position + count, this.tokens.length - 1)].kind; }
  take() { return this.tokens[this.position++]; }
  unexpected() {
    const { at, value } = this.tokens[this.position];
    return fail(`position ${at}: ${value} is not expected here`);
  }
  expect(kind) { return this.kind === kind ? this.take() : this.unexpected(); }

  whole() {
    const run = this.expression(0);
    return this.kind === "end" ? run : this.unexpected();
  }

  expression(power) {
    let left = this.beginning();
    while (power < this.power) left = this.continuation(left);
    return left;
  }

  beginning() {
    const token = this.tokens[this.position];
    switch (token.kind) {
      case "literal": this.take(); return () => token.value;
      case "name": this.take(); return this.kind === "(" ? this.call(token.value) : fieldOf(token.value);
      case "quoted": this.take(); return this.kind === "(" ? this.unexpected() : fieldOf(token.value);
      case "*": this.take(); return projectedValues(identity, this.kind === "]" ? identity : this.afterProjection(POWERS["*"]));
      case "[?": return this.filter(identity);
      case "{": this.take(); return this.object();
      case "(": { this.take(); const run = this.expression(0); this.expect(")"); return run; }
      case "[]": this.take(); return projected(flattened(identity), this.afterProjection(POWERS["[]"]));
      case "!": { this.take(); const run = this.expression(POWERS["!"]); return (value) => !isTrue(run(value)); }
      case "@": this.take(); return identity;
      case "[":
        this.take();
        if (this.kind === "number" || this.kind === ":") return this.indexed(identity);
        if (this.kind === "*" && this.ahead(1) === "]") {
          this.take(); this.take();
          return projected(identity, this.afterProjection(POWERS["*"]));
        }
        return this.list();
      default: return this.unexpected();
    }
  }

  continuation(left) {
    const mark = this.kind;
    switch (mark) {
      case ".": {
        this.take();
        if (this.kind === "*") { this.take(); return projectedValues(left, this.afterProjection(POWERS["*"])); }
        const right = this.afterDot(POWERS["."]);
        return (value) => { const found = left(value); return found === null ? null : right(found); };
      }
      case "|": { this.take(); const right = this.expression(POWERS["|"]); return (value) => right(left(value)); }
      case "||": { this.take(); const right = this.expression(POWERS["||"]); return (value) => { const found = left(value); return isTrue(found) ? found : right(value); }; }
      case "&&": { this.take(); const right = this.expression(POWERS["&&"]); return (value) => { const found = left(value); return isTrue(found) ? right(value) : found; }; }
      case "[?": return this.filter(left);
      case "[]": this.take(); return projected(flattened(left), this.afterProjection(POWERS["[]"]));
      case "[":
        this.take();
        if (this.kind === "number" || this.kind === ":") return this.indexed(left);
        this.expect("*"); this.expect("]");
        return projected(left, this.afterProjection(POWERS["*"]));
      case "==": case "!=": case "<": case "<=": case ">": case ">=":
        this.take();
        return compared(mark, left, this.expression(POWERS[mark]));
      default: return this.unexpected();
    }
  }

  filter(left) {
    this.take();
    const condition = this.expression(0);
    this.expect("]");
    return projectedWhere(left, condition, this.kind === "[]" ? identity : this.afterProjection(POWERS["[?"]));
  }

  indexed(left) {
    const parts = [null, null, null];
    let colons = 0;
    while (this.kind !== "]") {
      if (this.kind === ":") { colons++; if (colons > 2) this.unexpected(); this.take(); }
      else if (this.kind === "number" && parts[colons] === null) parts[colons] = this.take().value;
      else this.unexpected();
    }
    this.take();
    if (!colons) { const at = indexOf(parts[0]); return (value) => at(left(value)); }
    const slice = sliced(...parts);
    return projected((value) => slice(left(value)), this.afterProjection(POWERS["*"]));
  }

  afterProjection(power) {
    if (this.power < PROJECTION_STOP) return identity;
    if (this.kind === "[" || this.kind === "[?") return this.following(power);
    if (this.kind === ".") { this.take(); return this.afterDot(power); }
    return this.unexpected();
  }

  // What stands right behind a projection begins at the element itself.
  following(power) {
    let left = identity;
    while (power < this.power) left = this.continuation(left);
    return left;
  }

  afterDot(power) {
    if (this.kind === "name" || this.kind === "quoted" || this.kind === "*") return this.expression(power);
    const opened = this.kind;
    if (opened !== "[" && opened !== "{") return this.unexpected();
    this.take();
    let left = opened === "[" ? this.list() : this.object();
    while (power < this.power) left = this.continuation(left);
    return left;
  }

  list() {
    const parts = [];
    do parts.push(this.expression(0)); while (this.kind === "," && this.take());
    this.expect("]");
    return (value) => (value === null ? null : parts.map((run) => run(value)));
  }

  object() {
    const parts = [];
    do {
      const key = this.kind === "name" || this.kind === "quoted" ? this.take().value : this.unexpected();
      this.expect(":");
      parts.push([key, this.expression(0)]);
    } while (this.kind === "," && this.take());
    this.expect("}");
    return (value) => (value === null ? null : Object.fromEntries(parts.map(([key, run]) => [key, run(value)])));
  }

  call(name) {
    this.take();
    const parts = [];
    while (this.kind !== ")") {
      if (parts.length) this.expect(",");
      if (this.kind === "&") { this.take(); parts.push({ by: this.expression(0) }); }
      else parts.push({ run: this.expression(0) });
    }
    this.take();
    if (!Object.hasOwn(JMES_FUNCTIONS, name)) fail(`there is no function ${name}()`);
    const [types, run] = JMES_FUNCTIONS[name];
    const many = types.at(-1)?.startsWith("...");
    if (many ? parts.length < types.length : parts.length !== types.length) fail(`${name}() takes ${types.length} values, not ${parts.length}`);
    return (value) => run(...parts.map((part, i) => {
      const type = types[Math.min(i, types.length - 1)].replace("...", "");
      return jmesChecked(name, type, part.by ? { by: part.by } : plainOf(part.run(value)), Boolean(part.by));
    }));
  }
}

const jmesType = (value) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);
const JMES_TYPES = {
  any: () => true,
  number: (value) => typeof value === "number",
  string: (value) => typeof value === "string",
  array: Array.isArray,
  object: isObject,
  numbers: (value) => Array.isArray(value) && value.every((each) => typeof each === "number"),
  strings: (value) => Array.isArray(value) && value.every((each) => typeof each === "string"),
  sortable: (value) => JMES_TYPES.numbers(value) || JMES_TYPES.strings(value),
  text: (value) => typeof value === "string" || Array.isArray(value),
  sized: (value) => typeof value === "string" || Array.isArray(value) || isObject(value),
};
const jmesChecked = (name, type, value, expression) => {
  if (expression !== (type === "&")) fail(`${name}() takes ${type === "&" ? "an expression such as &field" : "a value"} there`);
  if (!expression && !JMES_TYPES[type](value)) fail(`${name}() cannot take ${jmesType(value)} there, only ${type}`);
  return expression ? value.by : value;
};
const codePointOrder = (a, b) => {
  if (typeof a === "number") return a - b;
  const x = [...a], y = [...b];
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i].codePointAt(0) - y[i].codePointAt(0);
  return x.length - y.length;
};
const keysBy = (name, list, by) => {
  const keys = list.map(by), type = jmesType(keys[0] ?? null);
  if (keys.length && ((type !== "number" && type !== "string") || keys.some((key) => jmesType(key) !== type))) fail(`${name}() needs keys that are all numbers or all strings`);
  return keys;
};
const best = (list, keys, sign) => {
  let at = -1;
  keys.forEach((key, i) => { if (at < 0 || sign * codePointOrder(key, keys[at]) > 0) at = i; });
  return at < 0 ? null : list[at];
};
const JMES_FUNCTIONS = {
  abs: [["number"], Math.abs],
  avg: [["numbers"], (list) => (list.length ? list.reduce((a, b) => a + b, 0) / list.length : null)],
  ceil: [["number"], Math.ceil],
  contains: [["text", "any"], (whole, part) => (typeof whole === "string" ? typeof part === "string" && whole.includes(part) : whole.some((each) => same(each, part)))],
  ends_with: [["string", "string"], (text, end) => text.endsWith(end)],
  floor: [["number"], Math.floor],
  join: [["string", "strings"], (between, list) => list.join(between)],
  keys: [["object"], Object.keys],
  length: [["sized"], (value) => (typeof value === "string" ? [...value].length : Object.keys(value).length)],
  map: [["&", "array"], (by, list) => list.map((each) => plainOf(by(each)))],
  max: [["sortable"], (list) => best(list, list, 1)],
  max_by: [["array", "&"], (list, by) => best(list, keysBy("max_by", list, by), 1)],
  merge: [["...object"], (...objects) => Object.fromEntries(objects.flatMap(Object.entries))],
  min: [["sortable"], (list) => best(list, list, -1)],
  min_by: [["array", "&"], (list, by) => best(list, keysBy("min_by", list, by), -1)],
  not_null: [["...any"], (...values) => values.find((each) => each !== null) ?? null],
  reverse: [["text"], (value) => (typeof value === "string" ? [...value].reverse().join("") : value.toReversed())],
  sort: [["sortable"], (list) => list.toSorted(codePointOrder)],
  sort_by: [["array", "&"], (list, by) => {
    const keys = keysBy("sort_by", list, by);
    return list.map((each, i) => i).sort((a, b) => codePointOrder(keys[a], keys[b])).map((i) => list[i]);
  }],
  starts_with: [["string", "string"], (text, start) => text.startsWith(start)],
  sum: [["numbers"], (list) => list.reduce((a, b) => a + b, 0)],
  to_array: [["any"], (value) => (Array.isArray(value) ? value : [value])],
  to_number: [["any"], (value) => {
    if (typeof value === "number") return value;
    return typeof value === "string" && /^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(value) ? Number(value) : null;
  }],
  to_string: [["any"], (value) => (typeof value === "string" ? value : JSON.stringify(value))],
  type: [["any"], jmesType],
  values: [["object"], Object.values],
};

// A program asks for the same path for every item.
const jmesCompiled = new Map();
library.$jmespath = (value, path) => {
  let run = jmesCompiled.get(path);
  if (run === undefined) {
    run = new JmesParser(toText(path)).whole();
    if (jmesCompiled.size < 200) jmesCompiled.set(path, run);
  }
  return plainOf(run(plainOf(value)));
};
