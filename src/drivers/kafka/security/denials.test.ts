import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AuthenticationError,
  MultipleErrors,
  NetworkError,
  ProtocolError,
  TimeoutError,
  UserError,
} from '@platformatic/kafka';
import { MillraceError } from '../../../core/errors.ts';
import { type Denial, denialOf, noteError } from './denials.ts';

const quiet: Denial = { address: 'kafka://a:9092', latest: null, tokenRanOut: () => false };
const same = (text: string) => text;
const withCode = (code: string) => Object.assign(new Error('from below'), { code });
const lost = new NetworkError('Connection closed');
const alert = new NetworkError('Connection error', {
  cause: withCode('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'),
});

const denied: readonly (readonly [string, unknown, RegExp])[] = [
  [
    'an unknown authority',
    new NetworkError('x', { cause: withCode('SELF_SIGNED_CERT_IN_CHAIN') }),
    /not accepted/,
  ],
  [
    'an expired certificate',
    new NetworkError('x', { cause: withCode('CERT_HAS_EXPIRED') }),
    /not accepted/,
  ],
  ['our own certificate', alert, /our certificate/],
  ['an older alert', withCode('ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE'), /our certificate/],
  ['TLS that is missing', new UserError('Broker requires TLS.'), /wants TLS/],
  [
    'a login',
    new AuthenticationError('SASL authentication failed.', {
      cause: new ProtocolError('SASL_AUTHENTICATION_FAILED'),
    }),
    /user and password/,
  ],
  [
    'a mechanism',
    new AuthenticationError('x', { cause: new ProtocolError('UNSUPPORTED_SASL_MECHANISM') }),
    /mechanism/,
  ],
  ['a check of the client', new AuthenticationError('Invalid server nonce.'), /nonce/],
  [
    'a right, among other trouble',
    new MultipleErrors('x', [lost, new ProtocolError('TOPIC_AUTHORIZATION_FAILED')]),
    /topic/,
  ],
  ['a group', new ProtocolError('GROUP_AUTHORIZATION_FAILED'), /group/],
  ['the cluster', new ProtocolError('CLUSTER_AUTHORIZATION_FAILED'), /cluster/],
];

const other: readonly (readonly [string, unknown])[] = [
  ['a lost connection', lost],
  ['silence', new TimeoutError('Request timed out')],
  ['a refused connection', new NetworkError('x', { cause: withCode('ECONNREFUSED') })],
  [
    'a broker that goes away in a login',
    new AuthenticationError('Cannot find a suitable SASL mechanism.', { cause: lost }),
  ],
  [
    'a reset in a handshake',
    new NetworkError('x', {
      cause: new UserError('TLS handshake failed.', { cause: withCode('ECONNRESET') }),
    }),
  ],
  ['another answer', new ProtocolError('NOT_LEADER_OR_FOLLOWER')],
  ['no error', 'text'],
  ['nothing', undefined],
];

describe('what is a denial', () => {
  for (const [what, error, message] of denied) {
    it(`${what} is one`, () => {
      const found = denialOf(error, quiet, same);
      assert.equal(found?.code, 'BROKER_DENIED');
      assert.match(found?.message ?? '', message);
      assert.match(found?.message ?? '', /^Kafka at kafka:\/\/a:9092 refuses us: /);
      assert.equal(found?.cause, error);
    });
  }
  for (const [what, error] of other) {
    it(`${what} is none`, () => assert.equal(denialOf(error, quiet, same), null));
  }

  it('a lost connection is one when the connection had just said why', () => {
    const said: Denial = { ...quiet, latest: { error: alert, at: performance.now() } };
    assert.equal(denialOf(lost, said, same)?.code, 'BROKER_DENIED');
    assert.equal(denialOf(new ProtocolError('NOT_LEADER_OR_FOLLOWER'), said, same), null);
    const before: Denial = { ...quiet, latest: { error: alert, at: performance.now() - 60_000 } };
    assert.equal(denialOf(lost, before, same), null);
  });

  it('a token that ran out on its way is none, then or a moment later', () => {
    const refused = new AuthenticationError('the token is refused (invalid_token)');
    const wrapped = new NetworkError('Connection failed.', { cause: refused });
    let ranOut = true;
    const context: Denial = { ...quiet, tokenRanOut: () => ranOut };
    noteError(context, wrapped);
    assert.equal(denialOf(wrapped, context, same), null);
    ranOut = false; // there is a new one
    assert.equal(denialOf(lost, context, same), null);
    assert.equal(denialOf(wrapped, context, same)?.code, 'BROKER_DENIED');
    noteError(context, wrapped);
    assert.equal(denialOf(lost, context, same)?.code, 'BROKER_DENIED');
  });

  it('a right is one, whatever became of the token', () => {
    const right = new ProtocolError('TOPIC_AUTHORIZATION_FAILED');
    assert.equal(
      denialOf(right, { ...quiet, tokenRanOut: () => true }, same)?.code,
      'BROKER_DENIED',
    );
  });

  it('an error of ours inside is handed on as it is', () => {
    const ours = new MillraceError('BROKER_UNAVAILABLE', 'no token');
    const error = new NetworkError('x', { cause: new AuthenticationError('y', { cause: ours }) });
    assert.equal(denialOf(error, quiet, same), ours);
  });

  it('a circle of causes ends', () => {
    const circle = new Error('a');
    circle.cause = new Error('b', { cause: circle });
    assert.equal(denialOf(circle, quiet, same), null);
  });
});
