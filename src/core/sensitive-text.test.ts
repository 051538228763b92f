import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSecretName } from './secrets.ts';
import { findSensitive, type Lookout } from './sensitive-text.ts';

const everything: Lookout = {
  secret: true,
  email: true,
  phone: true,
  iban: true,
  card: true,
  nationalId: true,
  ipv4: true,
};

/** `text <kind> text`: what is left when the spans are taken out. */
function masked(text: string, look: Lookout = everything): string {
  let rest = '';
  let from = 0;
  for (const { start, end, kind } of findSensitive(text, look) ?? []) {
    assert.ok(start >= from && end > start, `spans of ${text} are in order`);
    rest += `${text.slice(from, start)}<${kind}>`;
    from = end;
  }
  return rest + text.slice(from);
}

/** Each text, and what is left of it. */
function table(name: string, rows: Readonly<Record<string, string>>): void {
  test(name, () => {
    for (const [text, expected] of Object.entries(rows)) assert.equal(masked(text), expected);
  });
}

table('e-mail addresses in place', {
  'write to Ann.Lee+billing@mail.example.org, please.': 'write to <email>, please.',
  'a@b.de;c_d@e-f.co.uk': '<email>;<email>',
  '<jörg@müller.de>': '<<email>>',
  'mailto:x1@y2.io?subject=1': 'mailto:<email>?subject=1',
  'user @ home, @handle, a@localhost, a@b, 5@5.5': 'user @ home, @handle, a@localhost, a@b, 5@5.5',
});

table('telephone numbers in international form', {
  'call +49 (170) 123-4567 or +4915112345678': 'call <phone> or <phone>',
  '+1.202.555.0123.': '<phone>.',
  '1+12345678901, +123, +1234567890123456': '1+12345678901, +123, +1234567890123456',
});

table('bank accounts with right check digits', {
  'to DE89 3704 0044 0532 0130 00 now': 'to <iban> now',
  gb29nwbk60161331926819: '<iban>',
  'DE89370400440532013001 DE8937040044053201300': 'DE89370400440532013001 DE8937040044053201300',
  'XX0000299469 SETTLEMENT_FAIL AB12CDEF': 'XX0000299469 SETTLEMENT_FAIL AB12CDEF',
});

table('cards with a right check digit, and no times or order numbers', {
  '4111 1111 1111 1111 exp 12/29': '<card> exp 12/29',
  'no. 12 4111-1111-1111-1111 123': 'no. 12 <card> 123',
  '378282246310005,5555555555554444,6011111111111117': '<card>,<card>,<card>',
  '4111111111111112 4111111111111111a': '4111111111111112 4111111111111111a',
  '1763745600000 1763745600000123 2026-01-05 14:13:29.123456':
    '1763745600000 1763745600000123 2026-01-05 14:13:29.123456',
});

table('national ids', {
  'SSN 123-45-6789, 123 45 6789': 'SSN <national-id>, <national-id>',
  '000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000 123-45 6789':
    '000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000 123-45 6789',
  'id 77 123-45-6789': 'id 77 <national-id>',
  'NINO AB 12 34 56 C and AB123456C': 'NINO <national-id> and <national-id>',
});

table('addresses of machines', {
  'from 10.0.0.12:8080': 'from <ipv4>:8080',
  '1.2.3, 1.2.3.4.5, 256.1.1.1, v1.2.3.4a': '1.2.3, 1.2.3.4.5, 256.1.1.1, v1.2.3.4a',
});

table('secrets by their shape', {
  'key AKIAIOSFODNN7EXAMPLE in use': 'key <secret> in use',
  'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_123!': '<secret>!',
  [`ghp_${'a1'.repeat(18)} github_pat_${'B2'.repeat(20)}`]: '<secret> <secret>',
  'authorised by Bearer abcdef0123456789ABCDEF==': 'authorised by Bearer <secret>',
  'the bearer of news': 'the bearer of news',
  '-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after': '<secret> after',
  '-----BEGIN PRIVATE KEY-----\ncut off': '<secret>',
  '-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----':
    '-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----',
});

table('secrets by the name before them', {
  'host=db password=hunter2 user=ann': 'host=db password=<secret> user=ann',
  '{"api_key": "abc", "n": 1}': '{"api_key": "<secret>", "n": 1}',
  '"{\\"password\\":\\"x y\\"}"': '"{\\"password\\":\\"<secret>\\"}"',
  'Endpoint=sb://x/;SharedAccessKey=abc=;EntityPath=q':
    'Endpoint=sb://x/;SharedAccessKey=<secret>;EntityPath=q',
  'DefaultEndpointsProtocol=https;AccountKey=zz==;':
    'DefaultEndpointsProtocol=https;AccountKey=<secret>;',
  '?page=2&access_token=abc&x=1': '?page=2&access_token=<secret>&x=1',
  'Authorization: Basic YTpi\nHost: a': 'Authorization: <secret>\nHost: a',
  'Cookie: a=b; c=d': 'Cookie: <secret>',
  'shipping: fast, tokenCount=5, nextPageToken=abc, password=':
    'shipping: fast, tokenCount=5, nextPageToken=abc, password=',
});

table('URLs lose their credentials', {
  'postgres://ann:s3cret@db:5432/x?a=b': 'postgres://<secret>@db:5432/x?a=b',
  'amqps://u:p@ss@host/v': 'amqps://<secret>@host/v',
  'redis://u:p/w@host': 'redis://<secret>@host',
  'https://example.org/a@b.cc http://h:80/x@y': 'https://example.org/<email> http://h:80/x@y',
});

table('what was masked stays as it is', {
  'x [redacted:email] [redacted:card:0123456789abcdef] y':
    'x [redacted:email] [redacted:card:0123456789abcdef] y',
  'password=[redacted:secret] z': 'password=[redacted:secret] z',
  '[redacted:ann@example.org]': '[redacted:<email>]',
  '[redacted:card:4111111111111111]': '[redacted:card:<card>]',
});

test('only what is asked for is looked for', () => {
  const text = 'a@b.org +4915112345670 4111111111111111 123-45-6789 10.0.0.1 token=x';
  const nothing = Object.fromEntries(
    Object.keys(everything).map((kind) => [kind, false]),
  ) as unknown as Lookout;
  assert.equal(masked(text, nothing), text);
  assert.equal(
    masked(text, { ...nothing, card: true }),
    'a@b.org +4915112345670 <card> 123-45-6789 10.0.0.1 token=x',
  );
});

test('names of secrets are whole words', () => {
  const secrets =
    'password dbPassword DB_PASSWORD x-api-key apiKey stripe_secret accessToken ' +
    'Authorization set-cookie client.secret privateKey otp';
  for (const name of secrets.split(' ')) assert.ok(isSecretName(name), name);
  const others =
    'passwordResetAt tokenCount nextPageToken secretary shipping pinned tokens key ' +
    'cookieless authorizationStatus monkey keyboard primaryKey';
  for (const name of others.split(' ')) assert.ok(!isSecretName(name), name);
});
