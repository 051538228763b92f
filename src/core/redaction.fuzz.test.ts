/**
 * Properties of redaction on random and hostile input, with one seed for all that is printed:
 * `FUZZ_SEED=<seed>` repeats a run, `FUZZ_RUNS` makes it longer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isCard } from './personal-values.ts';
import { Redactor } from './redaction.ts';
import { findSensitive, type Lookout } from './sensitive-text.ts';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.FUZZ_RUNS ?? 300);

const look: Lookout = {
  secret: true,
  email: true,
  phone: true,
  iban: true,
  card: true,
  nationalId: true,
  ipv4: true,
};
const definition = { type: 'Any' };
const redactor = new Redactor({ default: { fields: ['who', 'a.*.b'], names: 'mask' } });

function property<T extends [unknown, ...unknown[]]>(
  name: string,
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  check: (...values: T) => void,
): void {
  test(name, (t) => {
    t.diagnostic(`FUZZ_SEED=${seed}`);
    fc.assert(fc.property(...arbitraries, check), { seed, numRuns });
  });
}

/** Pieces that begin something, and characters that go on with it. */
const pieces = fc.constantFrom(
  ...['@', '.', '+', '-', ' ', ':', '=', '://', '/', '"', "'", '\\', '[', ']', '\n', '\u00a0'],
  ...['a', 'Z', '7', '41', 'eyJ', 'AKIA', 'DE89', 'password', 'token', 'Bearer ', 'ghp_', 'é'],
  ...[
    '-----BEGIN ',
    '-----END ',
    'RSA PRIVATE KEY-----',
    '[redacted:',
    '[redacted:email]',
    '123-45-',
  ],
);
const hostileText = fc.array(pieces, { maxLength: 60 }).map((parts) => parts.join(''));
const text = fc.oneof(hostileText, fc.string({ unit: 'binary' }), fc.string());
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(text, fc.constantFrom('who', 'a', 'b', 'token')), tie('any'), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  ),
})).any;

property('spans are in order, apart and inside the text', [text], (given) => {
  let from = 0;
  for (const { start, end } of findSensitive(given, look) ?? []) {
    assert.ok(start >= from && end > start && end <= given.length);
    from = end;
  }
});

property('redacting what was redacted changes nothing', [value], (given) => {
  const once = redactor.redact(definition, 'acme', given);
  if (once === null) return;
  const twice = redactor.redact(definition, 'acme', once.value);
  assert.equal(twice, null, JSON.stringify({ given, once: once.value, twice }));
});

property(
  'what is not masked is the very value, and nothing is written into it',
  [value],
  (given) => {
    const before = structuredClone(given);
    const found = redactor.redact(definition, 'acme', given);
    assert.deepStrictEqual(given, before);
    if (found === null) return;
    assert.notDeepStrictEqual(found.value, given);
    assert.ok(found.count >= found.notes.length);
  },
);

const letters = [...'abcdefghijklmnopqrstuvwxyz0123456789'];
const word = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 12 });
const email = fc
  .tuple(word, word, fc.constantFrom('org', 'de', 'co.uk'))
  .map(([local, host, top]) => `${local}@${host}.${top}`);
const card = fc.stringMatching(/^4[0-9]{14}$/).map((start) => {
  const last = [...'0123456789'].find((digit) => isCard(start + digit));
  return start + last;
});
const filler = fc.constantFrom('', ' ', ', ', ' and ', '\n', '(', ') ', '; ', ' 12 ', '" ');

property(
  'a planted value is found among any others',
  [fc.array(fc.tuple(filler, fc.oneof(email, card)), { minLength: 1, maxLength: 6 })],
  (parts) => {
    const given = parts.map(([between, planted]) => `${between || ' '}${planted}`).join('');
    const found = redactor.redact(definition, 'acme', { given });
    const left = JSON.stringify(found?.value);
    for (const [, planted] of parts) assert.ok(!left.includes(planted), `${given} -> ${left}`);
  },
);

/** Texts in which every character gives reason to look closer. */
const repeated = [
  ...['a', '@', 'a@', 'a@a.', '@a.b', '+', '+1', '1 ', '1-', '12 34 a', '1', 'DE89', 'DE89 1'],
  ...['eyJ', 'eyJ-', 'eyJa.', 'Bearer ', 'AKIA-', 'sk-', '://', '://a:b', '://a:b/', '://a:b/c@'],
  ...['=', 'a=', 'password=', 'password="', "token: '", '-', '-----BEGIN ', '-----END ', '['],
  ...['[redacted:', '[redacted:email', '\\"', '1.', '1.1.1.', 'AB 12', 'aA', '_', 'é@é.'],
];

test('hostile text takes linear time', (t) => {
  t.diagnostic(`FUZZ_SEED=${seed}`);
  const seconds = (part: string, length: number) => {
    const given = part.repeat(Math.ceil(length / part.length));
    const from = performance.now();
    findSensitive(given, look);
    return (performance.now() - from) / 1_000;
  };
  for (const part of repeated) {
    // Twice the length takes twice the time; a quadratic search would take 30 s here.
    const took = seconds(part, 1_000_000);
    assert.ok(took < 3, `1 MB of ${JSON.stringify(part)} took ${took.toFixed(2)} s`);
  }
});

property(
  'random mixtures of hostile pieces take linear time',
  [fc.array(pieces, { minLength: 1, maxLength: 8 })],
  (parts) => {
    const given = parts.join('').repeat(2_000);
    const from = performance.now();
    findSensitive(given, look);
    const perUnit = ((performance.now() - from) * 1e6) / given.length;
    assert.ok(perUnit < 20_000, `${JSON.stringify(parts)}: ${perUnit.toFixed(0)} ns a character`);
  },
);
