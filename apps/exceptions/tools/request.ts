/**
 * One HTTP request to the outside, guarded: https only, hosts on the tool's list only, and the
 * address checked where the connection is made (not before, when DNS may still answer otherwise);
 * the checked address is the one that is connected to. Answers are cut off at a size, everything
 * ends at a deadline, and each redirect passes the same checks.
 */
import { lookup as resolve } from 'node:dns';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { MillraceError } from 'millrace';
import { compileWildcards } from '../packs/wildcard.ts';
import { refusalOfAddress } from './addresses.ts';

export interface GuardedRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly allowedDomains: readonly string[];
  readonly allowHttp: boolean;
  readonly allowPrivate: boolean;
  /** Redirects followed at most. */
  readonly redirectsMax: number;
  /** Ends the request: deadline and shutdown. */
  readonly signal: AbortSignal;
}

export interface GuardedResponse {
  readonly status: number;
  readonly body: string;
  /** True when the answer was longer than the cap and is cut. */
  readonly truncated: boolean;
}

/** Injected in tests; the system's resolver otherwise. */
export type Resolver = (
  host: string,
  callback: (
    error: Error | null,
    addresses: readonly { address: string; family: number }[],
  ) => void,
) => void;

const bodyMax = 1_048_576;
/** Headers that never follow a redirect to another origin. */
const secretHeaders: ReadonlySet<string> = new Set(['authorization', 'x-api-key', 'cookie']);

const systemResolver: Resolver = (host, callback) => {
  resolve(host, { all: true, verbatim: true }, callback);
};

function refuse(message: string): MillraceError {
  return new MillraceError('TOOL_BLOCKED', message, { retryable: false });
}

/** @throws MillraceError TOOL_BLOCKED when a guard refuses; errors of the network as they come. */
export async function sendGuarded(
  request: GuardedRequest,
  resolver: Resolver = systemResolver,
): Promise<GuardedResponse> {
  let url = new URL(request.url);
  let { headers } = request;
  for (let redirects = 0; ; redirects++) {
    checkUrl(url, request);
    const message = await sendOnce(url, headers, request, resolver);
    const target = redirectOf(message, url);
    if (target === null) return readBody(message);
    message.destroy();
    if (redirects >= request.redirectsMax) throw refuse(`too many redirects, last to ${target}`);
    const keepsMethod = message.statusCode === 307 || message.statusCode === 308;
    if (request.method !== 'GET' && !keepsMethod) {
      throw refuse(`${request.method} was answered with a redirect (${message.statusCode})`);
    }
    if (target.origin !== url.origin) {
      headers = Object.fromEntries(
        Object.entries(headers).filter(([name]) => !secretHeaders.has(name.toLowerCase())),
      );
    }
    url = target;
  }
}

function checkUrl(url: URL, request: GuardedRequest): void {
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && request.allowHttp)) {
    throw refuse(`${url.origin} is not https`);
  }
  if (url.username !== '' || url.password !== '') {
    throw refuse('the address holds a user name or password');
  }
  const host = hostOf(url);
  if (!compileWildcards(request.allowedDomains)(host)) {
    throw refuse(`${host} is not on the tool's list of domains`);
  }
  // Literal addresses are never looked up, so they are checked here.
  if (isIP(host) === 0) return;
  const refusal = refusalOfAddress(host, request.allowPrivate);
  if (refusal !== null) throw refuse(refusal);
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}

/** Resolves, and refuses the host when any of its addresses is refused. */
function guardedLookup(allowPrivate: boolean, resolver: Resolver): LookupFunction {
  return (host, options, callback) => {
    resolver(host, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      for (const { address } of addresses) {
        const refusal = refusalOfAddress(address, allowPrivate);
        if (refusal !== null) return callback(refuse(`${host}: ${refusal}`), '', 0);
      }
      const [first] = addresses;
      if (first === undefined) return callback(new Error(`${host} has no address`), '', 0);
      if (options.all === true) callback(null, [...addresses]);
      else callback(null, first.address, first.family);
    });
  };
}

function sendOnce(
  url: URL,
  headers: Readonly<Record<string, string>>,
  request: GuardedRequest,
  resolver: Resolver,
): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((fulfil, reject) => {
    const outgoing = send(url.href, {
      method: request.method,
      headers: { ...headers },
      lookup: guardedLookup(request.allowPrivate, resolver),
      signal: request.signal,
      // A pooled connection might have been opened by a tool with other rights.
      agent: false,
    });
    outgoing.on('response', fulfil);
    outgoing.on('error', reject);
    outgoing.end(request.body ?? undefined);
  });
}

function redirectOf(message: IncomingMessage, url: URL): URL | null {
  const status = message.statusCode ?? 0;
  const { location } = message.headers;
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return null;
  if (!URL.canParse(location, url.href)) throw refuse(`redirect to '${location}', which is no URL`);
  return new URL(location, url.href);
}

async function readBody(message: IncomingMessage): Promise<GuardedResponse> {
  const status = message.statusCode ?? 0;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    chunks.push(chunk);
    // Leaving the loop destroys the message, so nothing more is read.
    if (size > bodyMax) break;
  }
  const truncated = size > bodyMax;
  return { status, truncated, body: Buffer.concat(chunks).toString('utf8').slice(0, bodyMax) };
}
