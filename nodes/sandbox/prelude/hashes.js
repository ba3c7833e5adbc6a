// Hashes, encodings and chance. Constants are worked out when they are first needed.

const utf8 = (text) => {
  const binary = unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
};

const hex = (bytes) => {
  let text = "";
  for (const byte of bytes) text += (byte < 16 ? "0" : "") + byte.toString(16);
  return text;
};

const padded = (bytes, block, lengthBytes, bigEndian) => {
  const total = Math.ceil((bytes.length + 1 + lengthBytes) / block) * block;
  const out = new Uint8Array(total);
  out.set(bytes);
  out[bytes.length] = 0x80;
  const view = new DataView(out.buffer);
  const bits = BigInt(bytes.length) * 8n;
  view.setBigUint64(bigEndian ? total - 8 : total - lengthBytes, bits, !bigEndian);
  return view;
};

const rotateLeft = (x, n) => (x << n) | (x >>> (32 - n));
const rotateRight = (x, n) => (x >>> n) | (x << (32 - n));

const words = (values, littleEndian) => {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => view.setUint32(i * 4, value, littleEndian));
  return new Uint8Array(view.buffer);
};

const sha1 = (bytes) => {
  const view = padded(bytes, 64, 8, true);
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
  const w = new Int32Array(80);
  for (let at = 0; at < view.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + i * 4);
    for (let i = 16; i < 80; i++) w[i] = rotateLeft(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    let [a, b, c, d, e] = state;
    for (let i = 0; i < 80; i++) {
      const f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
      const k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
      const next = (rotateLeft(a, 5) + f + e + k + w[i]) | 0;
      e = d; d = c; c = rotateLeft(b, 30); b = a; a = next;
    }
    [a, b, c, d, e].forEach((value, i) => { state[i] = (state[i] + value) | 0; });
  }
  return words(state, false);
};

const MD5_SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];

const md5 = (bytes) => {
  const view = padded(bytes, 64, 8, false);
  const state = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476];
  const k = Array.from({ length: 64 }, (_, i) => Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32) | 0);
  for (let at = 0; at < view.byteLength; at += 64) {
    let [a, b, c, d] = state;
    for (let i = 0; i < 64; i++) {
      const round = i >> 4;
      const f = [(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)][round];
      const g = [i, 5 * i + 1, 3 * i + 5, 7 * i][round] % 16;
      const sum = (a + f + k[i] + view.getInt32(at + g * 4, true)) | 0;
      a = d; d = c; c = b;
      b = (b + rotateLeft(sum, MD5_SHIFTS[round * 4 + (i % 4)])) | 0;
    }
    [a, b, c, d].forEach((value, i) => { state[i] = (state[i] + value) | 0; });
  }
  return words(state, true);
};

// The first 64 bits of the fractional parts of roots of the first primes; SHA-256 uses their first halves.
let roots = null;
const rootsOfPrimes = () => {
  if (roots) return roots;
  const primes = [];
  for (let n = 2; primes.length < 80; n++) if (primes.every((p) => n % p)) primes.push(n);
  const root = (value, degree) => {
    let low = 0n, high = 1n << 72n;
    while (low + 1n < high) {
      const middle = (low + high) >> 1n;
      if (middle ** degree <= value) low = middle; else high = middle;
    }
    return BigInt.asUintN(64, low);
  };
  roots = {
    cubic: primes.map((p) => root(BigInt(p) << 192n, 3n)),
    square: primes.slice(0, 8).map((p) => root(BigInt(p) << 128n, 2n)),
  };
  return roots;
};

const sha256 = (bytes) => {
  const view = padded(bytes, 64, 8, true);
  const half = (value) => Number(value >> 32n) | 0;
  const k = rootsOfPrimes().cubic.map(half);
  const state = rootsOfPrimes().square.map(half);
  const w = new Int32Array(64);
  for (let at = 0; at < view.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(at + i * 4);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      const s0 = rotateRight(x, 7) ^ rotateRight(x, 18) ^ (x >>> 3);
      const s1 = rotateRight(y, 17) ^ rotateRight(y, 19) ^ (y >>> 10);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const s1 = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25);
      const one = (h + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
      const s0 = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22);
      const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => { state[i] = (state[i] + value) | 0; });
  }
  return words(state, false);
};

const sha512 = (bytes) => {
  const view = padded(bytes, 128, 16, true);
  const wrap = (value) => BigInt.asUintN(64, value);
  const rotate = (x, n) => (x >> n) | wrap(x << (64n - n));
  const k = rootsOfPrimes().cubic, state = [...rootsOfPrimes().square];
  for (let at = 0; at < view.byteLength; at += 128) {
    const w = [];
    for (let i = 0; i < 16; i++) w.push(view.getBigUint64(at + i * 8));
    for (let i = 16; i < 80; i++) {
      const x = w[i - 15], y = w[i - 2];
      const s0 = rotate(x, 1n) ^ rotate(x, 8n) ^ (x >> 7n), s1 = rotate(y, 19n) ^ rotate(y, 61n) ^ (y >> 6n);
      w.push(wrap(w[i - 16] + s0 + w[i - 7] + s1));
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 80; i++) {
      const s1 = rotate(e, 14n) ^ rotate(e, 18n) ^ rotate(e, 41n);
      const one = wrap(h + s1 + ((e & f) ^ (wrap(~e) & g)) + k[i] + w[i]);
      const s0 = rotate(a, 28n) ^ rotate(a, 34n) ^ rotate(a, 39n);
      const two = s0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g; g = f; f = e; e = wrap(d + one); d = c; c = b; b = a; a = wrap(one + two);
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => { state[i] = wrap(state[i] + value); });
  }
  const out = new DataView(new ArrayBuffer(64));
  state.forEach((value, i) => out.setBigUint64(i * 8, value));
  return new Uint8Array(out.buffer);
};

const crc32 = (bytes) => {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return words([~crc], false);
};

const HASHES = { md5, sha1, sha256, sha512, crc32 };

library.hash = (text, algorithm = "sha256") => {
  if (!Object.hasOwn(HASHES, algorithm)) {
    throw new RangeError(`hash() knows ${Object.keys(HASHES).join(", ")}, not ${algorithm}`);
  }
  return hex(HASHES[algorithm](utf8(toText(text))));
};

library.base64Encode = (text) => btoa(unescape(encodeURIComponent(toText(text))));
library.base64Decode = (text) => {
  const plain = toText(text).replaceAll("-", "+").replaceAll("_", "/");
  return decodeURIComponent(escape(atob(plain)));
};
library.urlEncode = (text) => encodeURIComponent(toText(text));
library.urlDecode = (text) => decodeURIComponent(toText(text));

// Chance comes from the seed, the expression and the item, so that no item changes what another one gets.
const chance = { seed: "", script: 0, item: 0, draws: 0 };
const randomBytes = () => sha1(utf8(`${chance.seed}:${chance.script}:${chance.item}:${chance.draws++}`));

library.uuid = () => {
  const bytes = randomBytes();
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const text = hex(bytes);
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20, 32)].join("-");
};

const random = () => {
  const bytes = new DataView(randomBytes().buffer);
  return (bytes.getUint32(0) * 2 ** 21 + (bytes.getUint32(4) >>> 11)) / 2 ** 53;
};
