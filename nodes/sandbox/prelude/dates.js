// Dates with a time zone. A wall time that a clock change skips moves on by the length of the gap; one that comes twice
// means the first. Tables of zones come from outside: `zones` holds them, `missing` what was asked for in vain.

const zones = new Map(), missing = new Set();
const clock = { now: 0, zone: "UTC" };
const DAY = 86_400_000;
const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MILLIS = { week: 7 * DAY, day: DAY, hour: 3_600_000, minute: 60_000, second: 1000, millisecond: 1 };
const UNITS = ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"];
const FIXED = /^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?$/;

const unitOf = (name) => {
  const unit = String(name).toLowerCase().replace(/s$/, "");
  if (UNITS.includes(unit)) return unit;
  throw new RangeError(`there is no unit ${JSON.stringify(name)}; units are ${UNITS.join(", ")}`);
};

const checkedZone = (name) => {
  if (name === "UTC" || name === "utc" || name === "Z" || name === "GMT") return "UTC";
  if (name === "local" || name === undefined) return clock.zone;
  const fixed = FIXED.exec(name);
  if (fixed) return `UTC${fixed[1]}${Number(fixed[2])}${fixed[3] && fixed[3] !== "00" ? ":" + fixed[3] : ""}`;
  tableOf(name);
  return name;
};

const tableOf = (name) => {
  const table = typeof name === "string" ? zones.get(name) : null;
  if (table) return table;
  if (table === undefined && name.length < 100) missing.add(name);
  throw new RangeError(`there is no time zone ${JSON.stringify(name)}`);
};

// Milliseconds that clocks in the zone are ahead of UTC at this moment.
const offsetAt = (ms, name) => {
  if (name === "UTC") return 0;
  const fixed = FIXED.exec(name);
  if (fixed) return (fixed[1] === "-" ? -1 : 1) * (Number(fixed[2]) * 60 + Number(fixed[3] ?? 0)) * 60_000;
  const { at, offsets } = tableOf(name);
  let low = 0, high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle] * 1000 <= ms) low = middle + 1; else high = middle;
  }
  return offsets[low] * 1000;
};

const momentOf = (wall, zone) => {
  const before = offsetAt(wall - DAY, zone);
  const fitting = [before, offsetAt(wall + DAY, zone)].map((offset) => wall - offset)
    .filter((ms) => offsetAt(ms, zone) === wall - ms);
  return fitting.length ? Math.min(...fitting) : wall - before;
};

const wallOf = (year, month = 1, day = 1, hour = 0, minute = 0, second = 0, millisecond = 0) => {
  const date = new RealDate(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second, millisecond);
  return date.getTime();
};

const daysIn = (year, month) => new RealDate(wallOf(year, month + 1, 0)).getUTCDate();
const pad = (number, length) => (number < 0 ? "-" : "") + String(Math.abs(number)).padStart(length, "0");

const offsetText = (ms, style) => {
  const minutes = Math.round(Math.abs(ms) / 60_000), sign = ms < 0 ? "-" : "+";
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  if (style === 1) return sign + hours + (rest ? ":" + pad(rest, 2) : "");
  return sign + pad(hours, 2) + (style === 2 ? ":" : "") + pad(rest, 2);
};

class DateTime {
  #ms;
  #zone;
  #local;

  constructor(ms, zone) {
    if (typeof ms !== "number" || !(Math.abs(ms) <= 8.64e15)) throw new RangeError("this is not a date");
    this.#ms = Math.trunc(ms);
    this.#zone = checkedZone(zone);
    this.#local = new RealDate(this.#ms + offsetAt(this.#ms, this.#zone));
    Object.freeze(this);
  }

  static fromMillis(ms, options) { return new DateTime(numberOf(ms, "DateTime.fromMillis"), options?.zone); }
  static fromSeconds(s, options) { return new DateTime(numberOf(s, "DateTime.fromSeconds") * 1000, options?.zone); }
  static fromJSDate(date, options) { return new DateTime(date.getTime(), options?.zone); }
  static fromISO(text, options) { return readIso(toText(text), options); }
  static fromFormat(text, format, options) { return readFormat(toText(text), toText(format), options); }
  static fromObject(parts, options) { return fromParts(parts, checkedZone(options?.zone)); }
  static now() { return new DateTime(clock.now); }
  static utc() { return new DateTime(clock.now, "UTC"); }
  static min(...dates) { return dates.reduce((a, b) => (b.#ms < a.#ms ? b : a)); }
  static max(...dates) { return dates.reduce((a, b) => (b.#ms > a.#ms ? b : a)); }

  get year() { return this.#local.getUTCFullYear(); }
  get month() { return this.#local.getUTCMonth() + 1; }
  get day() { return this.#local.getUTCDate(); }
  get hour() { return this.#local.getUTCHours(); }
  get minute() { return this.#local.getUTCMinutes(); }
  get second() { return this.#local.getUTCSeconds(); }
  get millisecond() { return this.#local.getUTCMilliseconds(); }
  get weekday() { return this.#local.getUTCDay() || 7; }
  get quarter() { return Math.ceil(this.month / 3); }
  get ordinal() { return Math.floor((this.#local.getTime() - wallOf(this.year)) / DAY) + 1; }
  get weekYear() { return new RealDate(this.#local.getTime() + (4 - this.weekday) * DAY).getUTCFullYear(); }
  get weekNumber() {
    const thursday = this.#local.getTime() + (4 - this.weekday) * DAY;
    return Math.floor((thursday - wallOf(this.weekYear)) / (7 * DAY)) + 1;
  }
  get daysInMonth() { return daysIn(this.year, this.month); }
  get isInLeapYear() { return daysIn(this.year, 2) === 29; }
  get zoneName() { return this.#zone; }
  get offset() { return (this.#local.getTime() - this.#ms) / 60_000; }

  toMillis() { return this.#ms; }
  toSeconds() { return this.#ms / 1000; }
  valueOf() { return this.#ms; }
  toJSDate() { return new RealDate(this.#ms); }
  toISODate() { return this.format("yyyy-MM-dd"); }
  toISOTime() { return this.format("HH:mm:ss.SSS") + this.#offsetIso(); }
  toISO() {
    const year = this.year >= 0 && this.year <= 9999 ? pad(this.year, 4) : (this.year < 0 ? "-" : "+") + pad(Math.abs(this.year), 6);
    return year + this.format("-MM-dd'T'HH:mm:ss.SSS") + this.#offsetIso();
  }
  toJSON() { return this.toISO(); }
  toString() { return this.toISO(); }
  [Symbol.toPrimitive](hint) { return hint === "number" ? this.#ms : this.toISO(); }
  toObject() {
    const { year, month, day, hour, minute, second, millisecond } = this;
    return { year, month, day, hour, minute, second, millisecond };
  }

  setZone(zone) { return new DateTime(this.#ms, zone); }
  toUTC() { return this.setZone("UTC"); }
  set(parts) { return fromParts({ ...this.toObject(), ...named(parts) }, this.#zone); }
  plus(amount, unit) { return this.#moved(amount, unit, 1); }
  minus(amount, unit) { return this.#moved(amount, unit, -1); }

  startOf(name) {
    const unit = unitOf(name), { year, month, day, hour, minute, second } = this;
    if (unit === "week") return fromParts({ year, month, day: day - this.weekday + 1 }, this.#zone, true);
    if (unit === "quarter") return fromParts({ year, month: this.quarter * 3 - 2 }, this.#zone);
    // Hours and less are counted from the moment, because an hour that comes twice has two beginnings.
    if (unit in MILLIS && unit !== "day") {
      const local = this.#local.getTime(), size = MILLIS[unit];
      return new DateTime(this.#ms - (((local % size) + size) % size), this.#zone);
    }
    const parts = [["year", year], ["month", month], ["day", day], ["hour", hour], ["minute", minute], ["second", second]];
    return fromParts(Object.fromEntries(parts.slice(0, parts.findIndex(([key]) => key === unit) + 1)), this.#zone);
  }
  endOf(name) { return this.startOf(name).plus({ [unitOf(name)]: 1 }).minus({ millisecond: 1 }); }

  diff(other, name = "millisecond") {
    const unit = unitOf(name), that = toDate(other).setZone(this.#zone);
    const months = { year: 12, quarter: 3, month: 1 }[unit];
    if (months) {
      const walls = (this.year - that.year) * 12 + this.month - that.month;
      let count = Math.trunc(walls / months);
      if (this.#ms >= that.#ms ? that.plus({ [unit]: count }).#ms > this.#ms : that.plus({ [unit]: count }).#ms < this.#ms) {
        count += this.#ms >= that.#ms ? -1 : 1;
      }
      const step = this.#ms >= that.#ms ? 1 : -1;
      const from = that.plus({ [unit]: count }).#ms, to = that.plus({ [unit]: count + step }).#ms;
      return count + (from === this.#ms ? 0 : (step * (this.#ms - from)) / (to - from));
    }
    const byWall = unit === "day" || unit === "week";
    return (byWall ? this.#local.getTime() - that.#local.getTime() : this.#ms - that.#ms) / MILLIS[unit];
  }
  diffNow(unit) { return this.diff(DateTime.now(), unit); }
  hasSame(other, unit) { return this.startOf(unit).#ms === toDate(other).setZone(this.#zone).startOf(unit).#ms; }
  equals(other) { return other instanceof DateTime && other.#ms === this.#ms && other.#zone === this.#zone; }

  format(pattern) {
    return toText(pattern).replace(TOKEN, (token, quoted) => (quoted === undefined ? this.#part(token) : quoted));
  }
  toFormat(pattern) { return this.format(pattern); }

  #offsetIso() { return this.#zone === "UTC" ? "Z" : offsetText(this.offset * 60_000, 2); }

  #moved(amount, unit, sign) {
    const by = typeof amount === "number" ? { [unitOf(unit)]: amount } : named(amount);
    for (const [name, value] of Object.entries(by)) by[name] = sign * numberOf(value, sign > 0 ? "plus" : "minus");
    let moment = this.#ms;
    const months = (by.year ?? 0) * 12 + (by.quarter ?? 0) * 3 + (by.month ?? 0);
    const days = (by.week ?? 0) * 7 + (by.day ?? 0);
    if (months || days) {
      const index = this.year * 12 + this.month - 1 + Math.trunc(months);
      const [year, month] = [Math.floor(index / 12), (((index % 12) + 12) % 12) + 1];
      const day = Math.min(this.day, daysIn(year, month)) + Math.trunc(days);
      moment = momentOf(wallOf(year, month, day, this.hour, this.minute, this.second, this.millisecond), this.#zone);
    }
    for (const name of ["hour", "minute", "second", "millisecond"]) moment += (by[name] ?? 0) * MILLIS[name];
    return new DateTime(moment, this.#zone);
  }

  #part(token) {
    const length = token.length;
    switch (token[0]) {
      case "y": return length === 2 ? pad(this.year % 100, 2) : pad(this.year, length);
      case "M": case "L": return length > 2 ? MONTHS[this.month - 1].slice(0, length === 3 ? 3 : 99) : pad(this.month, length);
      case "d": return pad(this.day, length);
      case "E": case "c": return length > 2 ? DAYS[this.weekday - 1].slice(0, length === 3 ? 3 : 99) : String(this.weekday);
      case "H": return pad(this.hour, length);
      case "h": return pad(this.hour % 12 || 12, length);
      case "m": return pad(this.minute, length);
      case "s": return pad(this.second, length);
      case "S": return pad(this.millisecond, length);
      case "a": return this.hour < 12 ? "AM" : "PM";
      case "o": return pad(this.ordinal, length);
      case "q": return pad(this.quarter, length);
      case "W": return pad(this.weekNumber, length);
      case "k": return pad(this.weekYear, length);
      case "Z": return offsetText(this.offset * 60_000, length);
      case "X": return String(Math.floor(this.#ms / 1000));
      case "x": return String(this.#ms);
      default: return this.#zone;
    }
  }
}

const TOKEN = /'([^']*)'|y{4}|yy|y|M{1,4}|L{1,4}|dd?|E{3,4}|E|c{3,4}|c|HH?|hh?|mm?|ss?|SSS|S|a|ooo|o|qq?|WW?|k{4}|Z{1,3}|z|X|x/g;

const named = (parts) => {
  if (kindOf(parts) !== "object") throw new TypeError(`an object such as {days: 1} is needed, not ${kindOf(parts)}`);
  return Object.fromEntries(Object.entries(parts).map(([name, value]) => [unitOf(name), value]));
};

const fromParts = (parts, zone, roll = false) => {
  const { year = DateTime.now().year, month = 1, day = 1, hour = 0, minute = 0, second = 0, millisecond = 0 } = parts;
  const fits = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  if (!roll && !(fits(month, 1, 12) && fits(day, 1, daysIn(year, month)) && fits(hour, 0, 23) && fits(minute, 0, 59) && fits(second, 0, 59))) {
    throw new RangeError("there is no such date");
  }
  return new DateTime(momentOf(wallOf(year, month, day, hour, minute, second, millisecond), zone), zone);
};

const ISO = /^([+-]\d{6}|\d{4})-?(\d\d)?-?(\d\d)?(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?)?$/;

const readIso = (text, options) => {
  const found = ISO.exec(text.trim());
  if (!found) throw new RangeError(`${JSON.stringify(text.slice(0, 60))} is not an ISO date`);
  const [, year, month = "1", day = "1", hour = "0", minute = "0", second = "0", part = "", offset] = found;
  const millisecond = Math.floor(Number(`0.${part || 0}`) * 1000 + 1e-6);
  const parts = { year: Number(year), month: Number(month), day: Number(day), hour: Number(hour), minute: Number(minute), second: Number(second), millisecond };
  const zone = checkedZone(options?.zone);
  return offset ? fromParts(parts, checkedZone(offset.toUpperCase())).setZone(options?.setZone ? checkedZone(offset.toUpperCase()) : zone) : fromParts(parts, zone);
};

const NUMBERS = { y: "year", M: "month", L: "month", d: "day", H: "hour", h: "hour12", m: "minute", s: "second", S: "millisecond", X: "seconds", x: "millis" };

const readFormat = (text, pattern, options) => {
  const names = [];
  let source = "", last = 0;
  const literal = (part) => { source += part.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"); };
  for (const found of pattern.matchAll(TOKEN)) {
    const [token, quoted] = found, kind = token[0], many = token.length;
    literal(pattern.slice(last, found.index));
    last = found.index + many;
    if (quoted !== undefined) { literal(quoted); continue; }
    if ((kind === "M" || kind === "L") && many > 2) { names.push("monthName"); source += "(\\p{L}+)"; }
    else if ((kind === "E" || kind === "c") && many > 2) { names.push("weekday"); source += "(\\p{L}+)"; }
    else if (kind === "a") { names.push("half"); source += "([AaPp])\\.?[Mm]\\.?"; }
    else if (kind === "Z") { names.push("offset"); source += "(Z|[+-]\\d\\d?(?::?\\d\\d)?)"; }
    else if (kind === "z") { names.push("zone"); source += "([A-Za-z_+\\-\\/0-9:]+)"; }
    else if (NUMBERS[kind]) {
      names.push(many === 2 && kind === "y" ? "shortYear" : NUMBERS[kind]);
      source += kind === "X" || kind === "x" ? "(-?\\d+)" : many > 1 ? `(\\d{${many}})` : kind === "y" ? "(\\d{1,6})" : kind === "S" ? "(\\d{1,3})" : "(\\d{1,2})";
    } else throw new RangeError(`fromFormat() cannot read ${token}`);
  }
  literal(pattern.slice(last));
  const found = new RegExp(`^${source}$`, "u").exec(text);
  if (!found) throw new RangeError(`${JSON.stringify(text.slice(0, 60))} does not look like ${JSON.stringify(pattern)}`);
  return fromFound(Object.fromEntries(names.map((name, i) => [name, found[i + 1]])), options);
};

const fromFound = (found, options) => {
  const number = (name, otherwise) => (found[name] === undefined ? otherwise : Number(found[name]));
  const zone = checkedZone(options?.zone);
  if (found.millis !== undefined || found.seconds !== undefined) return new DateTime(number("millis", number("seconds") * 1000), zone);
  const short = number("shortYear");
  const monthName = found.monthName?.toLowerCase();
  const month = monthName ? MONTHS.findIndex((name) => name.toLowerCase() === monthName || name.slice(0, 3).toLowerCase() === monthName) + 1 : number("month", 1);
  let hour = number("hour", 0);
  if (found.hour12 !== undefined) hour = (number("hour12") % 12) + (/p/i.test(found.half ?? "") ? 12 : 0);
  const parts = {
    year: short === undefined ? number("year", DateTime.now().year) : short + (short < 70 ? 2000 : 1900),
    month, day: number("day", 1), hour, minute: number("minute", 0), second: number("second", 0), millisecond: number("millisecond", 0),
  };
  const written = found.offset ?? found.zone;
  return written === undefined ? fromParts(parts, zone) : fromParts(parts, checkedZone(written === "Z" ? "UTC" : written)).setZone(found.zone ?? zone);
};

const toDate = (value, zone) => {
  if (value instanceof DateTime) return zone === undefined ? value : value.setZone(zone);
  if (value instanceof RealDate) return new DateTime(value.getTime(), zone);
  if (typeof value === "number") return new DateTime(value, zone);
  if (typeof value === "string") return readIso(value, { zone });
  throw new TypeError(`date() needs a text, a number of milliseconds or a date, not ${kindOf(value)}`);
};

library.DateTime = DateTime;
library.date = toDate;
