// Takes away what could carry something from one evaluation to another, or make code of data, and freezes the rest.

const refuse = (name, prototype) => {
  const refused = { [name]: function () { throw new TypeError("code cannot be made of text here"); } }[name];
  if (prototype) Object.defineProperty(refused, "prototype", { value: prototype, writable: false });
  return refused;
};

const setConstructor = (prototype, value) =>
  Object.defineProperty(prototype, "constructor", { value, writable: true, configurable: true, enumerable: false });

const withoutCode = () => {
  const makers = [function () {}, function* () {}, async function () {}, async function* () {}];
  for (const each of makers) {
    const prototype = Object.getPrototypeOf(each);
    const refused = refuse(prototype.constructor.name, prototype);
    setConstructor(prototype, refused);
    if (refused.name === "Function") globalThis.Function = refused;
  }
  globalThis.eval = refuse("eval");
  for (const name of ["queueMicrotask", "SharedArrayBuffer", "Atomics", "WeakRef", "FinalizationRegistry", "performance", "DOMException"]) {
    delete globalThis[name];
  }
};

// The clock stands still during an evaluation and chance comes from the seed.
const withoutClock = () => {
  const FixedDate = function Date(...parts) {
    if (!new.target) return new RealDate(clock.now).toString();
    return Reflect.construct(RealDate, parts.length ? parts : [clock.now], new.target);
  };
  Object.defineProperty(FixedDate, "length", { value: 7 });
  Object.defineProperty(FixedDate, "prototype", { value: RealDate.prototype, writable: false });
  Object.assign(FixedDate, {});
  for (const [name, value] of [["UTC", RealDate.UTC], ["parse", RealDate.parse], ["now", () => clock.now]]) {
    Object.defineProperty(FixedDate, name, { value, writable: true, configurable: true, enumerable: false });
  }
  setConstructor(RealDate.prototype, FixedDate);
  globalThis.Date = FixedDate;
  Math.random = random;
};

// A frozen prototype would also refuse `object.toString = …` on what inherits from it; an accessor lets that through.
const letThrough = (prototype, names) => {
  for (const name of names) {
    const found = Object.getOwnPropertyDescriptor(prototype, name);
    if (!found || !("value" in found)) continue;
    Object.defineProperty(prototype, name, {
      get() { return found.value; },
      set(value) {
        if (this === prototype) throw new TypeError(`'${name}' is read-only`);
        Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
      },
      enumerable: false,
      configurable: false,
    });
  }
};

// Freezes what can be reached from these; what is frozen already was walked before, or leads nowhere.
const freezeFrom = (...roots) => {
  const todo = [...roots];
  while (todo.length) {
    const each = todo.pop();
    if (each === null || (typeof each !== "object" && typeof each !== "function") || Object.isFrozen(each)) continue;
    const keys = Reflect.ownKeys(each);
    Object.freeze(each);
    todo.push(Object.getPrototypeOf(each));
    // Most are functions that have a name and a length and nothing else.
    for (const key of typeof each === "function" && keys.length <= 2 ? [] : keys) {
      const found = Object.getOwnPropertyDescriptor(each, key);
      todo.push(found.value, found.get, found.set);
    }
  }
};

const freezeAll = (...own) => {
  const hidden = [
    function* () {}, async function () {}, async function* () {}, (function* () {})(), [][Symbol.iterator](), ""[Symbol.iterator](),
    new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), "a".matchAll(/a/g), Iterator.from({ next() {} }), [].values().map((x) => x),
  ];
  const prototypes = [];
  for (const each of hidden) for (let o = each; o; o = Object.getPrototypeOf(o)) prototypes.push(o);
  freezeFrom(globalThis, ...prototypes, ...own);
};

const lockDown = (...own) => {
  withoutCode();
  withoutClock();
  for (const [name, value] of Object.entries(library)) {
    Object.defineProperty(globalThis, name, { value, writable: false, enumerable: false, configurable: false });
  }
  letThrough(Object.prototype, ["constructor", "toString", "toLocaleString", "valueOf", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable"]);
  for (const each of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError]) {
    letThrough(each.prototype, ["constructor", "name", "message", "toString"]);
  }
  freezeAll(...own);
};
