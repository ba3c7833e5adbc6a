// The library of plain functions. Objects are built from entries, so that a key such as `__proto__` is only a key.

const kindOf = (value) => {
  if (value === null || value === undefined) return "null";
  if (Array.isArray(value)) return "array";
  if (value instanceof DateTime || value instanceof Date) return "date";
  return typeof value;
};

const toText = (value) => {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  const text = JSON.stringify(value);
  return text === undefined ? "" : text[0] === '"' ? JSON.parse(text) : text;
};

const listOf = (value, name) => {
  if (Array.isArray(value)) return value;
  throw new TypeError(`${name}() needs an array, not ${kindOf(value)}`);
};

const objectOf = (value, name) => {
  if (kindOf(value) === "object") return value;
  throw new TypeError(`${name}() needs an object, not ${kindOf(value)}`);
};

const numberOf = (value, name) => {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof number === "number" && !Number.isNaN(number)) return number;
  throw new TypeError(`${name}() needs a number, not ${typeof value === "string" ? JSON.stringify(value) : kindOf(value)}`);
};

const field = (value, path) => {
  let current = value;
  for (const name of String(path).split(".")) {
    if (current === null || current === undefined || !Object.hasOwn(Object(current), name)) return undefined;
    current = current[name];
  }
  return current;
};

const chooser = (by) => (typeof by === "function" ? by : by === undefined ? (value) => value : (value) => field(value, by));

const keyOf = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : value);

const order = (a, b) => {
  const rank = (value) => ["number", "string", "boolean"].indexOf(typeof value);
  const x = a instanceof DateTime ? a.toMillis() : a, y = b instanceof DateTime ? b.toMillis() : b;
  if (typeof x !== typeof y || rank(x) < 0) {
    const [first, second] = [rank(x) < 0 ? 9 : rank(x), rank(y) < 0 ? 9 : rank(y)];
    return first - second;
  }
  return x < y ? -1 : x > y ? 1 : 0;
};

const wordsOf = (text) =>
  toText(text).normalize("NFKD").replace(/\p{M}+/gu, "").replace(/([\p{Ll}\d])(\p{Lu})/gu, "$1 $2")
    .split(/[^\p{L}\p{N}]+/u).filter((word) => word !== "");

const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);

const flat = (list, depth) => list.flat(depth);

const merged = (left, right) => {
  const out = new Map(Object.entries(left));
  for (const [key, value] of Object.entries(right)) {
    const before = out.get(key);
    out.set(key, kindOf(before) === "object" && kindOf(value) === "object" ? merged(before, value) : value);
  }
  return Object.fromEntries(out);
};

const grouped = (list, by, name) => {
  const choose = chooser(by), groups = new Map();
  for (const each of listOf(list, name)) {
    const key = toText(choose(each));
    if (groups.has(key)) groups.get(key).push(each); else groups.set(key, [each]);
  }
  return groups;
};

const empty = (value) =>
  value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0) ||
  (kindOf(value) === "object" && Object.keys(value).length === 0);

const numbersOf = (list, by, name) => listOf(list, name).map(chooser(by)).map((each) => numberOf(each, name));

const rounded = (value, digits) => {
  if (!Number.isFinite(value)) return value;
  const shifted = (number, places) => {
    const [digitsOf, exponent = "0"] = String(number).split("e");
    return Number(`${digitsOf}e${Number(exponent) + places}`);
  };
  const away = Math.sign(value) * Math.round(shifted(Math.abs(value), digits));
  return shifted(away, -digits) + 0;
};

Object.assign(library, {
  // Text
  upper: (text) => toText(text).toUpperCase(),
  lower: (text) => toText(text).toLowerCase(),
  capitalize: (text) => capital(toText(text)),
  title: (text) => toText(text).toLowerCase().replace(/(^|[^\p{L}\p{N}'’])(\p{L})/gu, (_, before, letter) => before + letter.toUpperCase()),
  trim: (text) => toText(text).trim(),
  slugify: (text) => wordsOf(text).join("-").toLowerCase(),
  camelCase: (text) => wordsOf(text).map((word, i) => (i ? capital(word.toLowerCase()) : word.toLowerCase())).join(""),
  snakeCase: (text) => wordsOf(text).join("_").toLowerCase(),
  truncate: (text, length, end = "…") => {
    const letters = [...toText(text)];
    const kept = Math.max(0, numberOf(length, "truncate") - [...end].length);
    return letters.length <= length ? letters.join("") : letters.slice(0, kept).join("") + end;
  },
  contains: (whole, part) => (Array.isArray(whole) ? whole.map(keyOf).includes(keyOf(part)) : toText(whole).includes(toText(part))),
  stripTags: (text) => toText(text).replace(/<[^<>]*>/g, ""),
  lines: (text) => toText(text).split(/\r\n|\r|\n/),

  // Lists
  first: (list) => listOf(list, "first")[0],
  last: (list) => listOf(list, "last").at(-1),
  unique: (list, by) => {
    const choose = chooser(by), seen = new Set();
    return listOf(list, "unique").filter((each) => {
      const key = keyOf(choose(each));
      return !seen.has(key) && seen.add(key);
    });
  },
  compact: (list) => listOf(list, "compact").filter((each) => !empty(each)),
  pluck: (list, path) => listOf(list, "pluck").map((each) => field(each, path) ?? null),
  sum: (list, by) => numbersOf(list, by, "sum").reduce((a, b) => a + b, 0),
  average: (list, by) => {
    const numbers = numbersOf(list, by, "average");
    return numbers.length ? numbers.reduce((a, b) => a + b, 0) / numbers.length : null;
  },
  min: (list, by) => listOf(list, "min").reduce((best, each) => (best === null || order(chooser(by)(each), chooser(by)(best)) < 0 ? each : best), null),
  max: (list, by) => listOf(list, "max").reduce((best, each) => (best === null || order(chooser(by)(each), chooser(by)(best)) > 0 ? each : best), null),
  chunk: (list, size) => {
    const step = Math.floor(numberOf(size, "chunk"));
    if (step < 1) throw new RangeError("chunk() needs a size of at least 1");
    const out = [];
    for (let i = 0; i < listOf(list, "chunk").length; i += step) out.push(list.slice(i, i + step));
    return out;
  },
  flatten: (list, depth = Infinity) => flat(listOf(list, "flatten"), depth),
  sortBy: (list, by, direction = "asc") => {
    const choose = chooser(by), sign = direction === "desc" ? -1 : 1;
    return listOf(list, "sortBy").toSorted((a, b) => sign * order(choose(a), choose(b)));
  },
  groupBy: (list, by) => Object.fromEntries(grouped(list, by, "groupBy")),
  countBy: (list, by) => Object.fromEntries([...grouped(list, by, "countBy")].map(([key, each]) => [key, each.length])),
  keyBy: (list, by) => Object.fromEntries([...grouped(list, by, "keyBy")].map(([key, each]) => [key, each.at(-1)])),
  difference: (list, other) => {
    const not = new Set(listOf(other, "difference").map(keyOf));
    return listOf(list, "difference").filter((each) => !not.has(keyOf(each)));
  },
  intersection: (list, other) => {
    const both = new Set(listOf(other, "intersection").map(keyOf));
    return listOf(list, "intersection").filter((each) => both.has(keyOf(each)));
  },
  range: (start, end, step = 1) => {
    const [from, to] = end === undefined ? [0, start] : [start, end];
    const count = Math.ceil((numberOf(to, "range") - numberOf(from, "range")) / numberOf(step, "range"));
    if (count > 1_000_000 || !Number.isFinite(count)) throw new RangeError("range() gives at most 1000000 numbers");
    return Array.from({ length: Math.max(0, count) }, (_, i) => from + i * step);
  },

  // Objects
  keys: (object) => Object.keys(objectOf(object, "keys")),
  values: (object) => Object.values(objectOf(object, "values")),
  entries: (object) => Object.entries(objectOf(object, "entries")),
  get: (object, path, otherwise = null) => field(object, path) ?? otherwise,
  pick: (object, ...names) => {
    const wanted = new Set(names.flat());
    return Object.fromEntries(Object.entries(objectOf(object, "pick")).filter(([key]) => wanted.has(key)));
  },
  omit: (object, ...names) => {
    const unwanted = new Set(names.flat());
    return Object.fromEntries(Object.entries(objectOf(object, "omit")).filter(([key]) => !unwanted.has(key)));
  },
  merge: (...objects) => objects.reduce((all, each) => merged(all, objectOf(each ?? {}, "merge")), {}),

  // Numbers
  round: (number, digits = 0) => rounded(numberOf(number, "round"), digits),
  clamp: (number, least, most) => Math.min(Math.max(numberOf(number, "clamp"), least), most),
  toNumber: (value, otherwise = null) => {
    const number = typeof value === "string" && value.trim() === "" ? NaN : Number(value ?? NaN);
    return Number.isNaN(number) ? otherwise : number;
  },
  formatNumber: (number, digits = 0, group = ",", point = ".") => {
    const [whole, part = ""] = Math.abs(rounded(numberOf(number, "formatNumber"), digits)).toFixed(digits).split(".");
    const sign = rounded(number, digits) < 0 ? "-" : "";
    return sign + whole.replace(/\B(?=(\d{3})+$)/g, () => group) + (part && point + part);
  },

  // Anything
  isEmpty: empty,
  ifEmpty: (value, otherwise) => (empty(value) ? otherwise : value),
  coalesce: (...values) => values.find((each) => each !== null && each !== undefined) ?? null,
  typeOf: kindOf,
  toText,
  toJson: (value, indent = 0) => JSON.stringify(value, null, indent),
  parseJson: (text, otherwise) => {
    try {
      return JSON.parse(toText(text));
    } catch (error) {
      if (otherwise === undefined) throw error;
      return otherwise;
    }
  },
});
