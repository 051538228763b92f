/**
 * Which errors mean "not with these credentials", and which only look like it. Certificates that
 * one side does not accept, mechanisms, passwords, tokens and missing rights are BROKER_DENIED. A
 * broker that goes away in the middle of a login is none of these, though the client calls it one.
 */
import { MillraceError } from '../../../core/errors.ts';

/** What all clients of one broker share; goes to them as their `context`. */
export interface Denial {
  readonly address: string;
  /** The last error of one of its connections; `at` in milliseconds of this process. */
  latest: { readonly error: unknown; readonly at: number } | null;
  /** The token ended on its way, or while its issuer was away: the next one may do. */
  tokenRanOut(): boolean;
}

/** An error of a connection explains failures of its requests this long. */
const explainsMs = 5000;

interface Reason {
  readonly message: string;
  readonly fix: string;
}

/** Remembers what a connection said last; not that a token is refused which ran out by itself. */
export function noteError(context: Denial, error: unknown): void {
  const isOver = context.tokenRanOut() && everyErrorOf(error).some((one) => isLogin(one as Fault));
  if (!isOver) context.latest = { error, at: performance.now() };
}

export function denialOf(
  error: unknown,
  context: Denial,
  redact: (text: string) => string,
): MillraceError | null {
  const all = everyErrorOf(error);
  const own = all.find((one): one is MillraceError => one instanceof MillraceError);
  if (own !== undefined) return own;
  const reason = firstReason(all, context) ?? explainedBy(all, context);
  if (reason === null) return null;
  return new MillraceError(
    'BROKER_DENIED',
    redact(`Kafka at ${context.address} refuses us: ${reason.message}`),
    { cause: error, fix: reason.fix },
  );
}

interface Fault {
  readonly message: string;
  readonly code?: string;
  readonly apiId?: string;
  readonly serverErrorMessage?: string | null;
}

/** The error, its causes and its parts; a circle ends it. */
function everyErrorOf(error: unknown): Error[] {
  const seen = new Set<Error>();
  const open: unknown[] = [error];
  while (open.length > 0) {
    const one = open.pop();
    if (!(one instanceof Error) || seen.has(one)) continue;
    seen.add(one);
    open.push(one.cause);
    if (one instanceof AggregateError) open.push(...one.errors);
  }
  return [...seen];
}

function firstReason(all: readonly Error[], { tokenRanOut }: Denial): Reason | null {
  for (const one of all) {
    const fault = one as Fault;
    const reason = certificateReason(fault) ?? rightReason(fault) ?? loginReason(fault);
    if (reason !== null && !(isLogin(fault) && tokenRanOut())) return reason;
  }
  return null;
}

/** The request failed as "closed": the connection may have said why. */
function explainedBy(all: readonly Error[], context: Denial): Reason | null {
  const { latest } = context;
  if (latest === null || performance.now() - latest.at > explainsMs) return null;
  const isLoss = all.some((one) => (one as Fault).code === 'PLT_KFK_NETWORK');
  return isLoss ? firstReason(everyErrorOf(latest.error), context) : null;
}

/** Codes that Node gives to a certificate which it does not accept. */
const theirCertificate = new RegExp(
  `^(${[
    'ERR_TLS_CERT_ALTNAME_INVALID|CERT_\\w+|(DEPTH_ZERO_)?SELF_SIGNED_CERT\\w*|UNABLE_TO_\\w+',
    'INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED|ERROR_IN_CERT_\\w+',
  ].join('|')})$`,
);
/** Codes of the alert that the broker sends when it does not accept ours. */
const ourCertificate = new RegExp(
  `^ERR_SSL_.*ALERT_?(${[
    'CERTIFICATE_\\w+|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|NO_CERTIFICATE|UNKNOWN_CA',
    'ACCESS_DENIED|HANDSHAKE_FAILURE|UNKNOWN',
  ].join('|')})`,
);

function certificateReason({ code = '', message }: Fault): Reason | null {
  if (theirCertificate.test(code)) {
    return {
      message: `its certificate is not accepted (${code}: ${message})`,
      fix: "Give the CA that signed the broker's certificate as tls.ca; names and dates must fit.",
    };
  }
  if (ourCertificate.test(code)) {
    return {
      message: `it does not accept our certificate, or wants one (${code})`,
      fix: 'Give tls.cert and tls.key, signed by a CA that the broker trusts and not expired.',
    };
  }
  if (code === 'PLT_KFK_USER' && message.startsWith('Broker requires TLS')) {
    return { message: 'it wants TLS', fix: 'Write kafkas:// instead of kafka:// in the URL.' };
  }
  return null;
}

const rights: Readonly<Record<string, Reason>> = {
  TOPIC_AUTHORIZATION_FAILED: {
    message: 'a right on the topic is missing',
    fix: 'Allow Write and Describe to who publishes, Read and Describe to who subscribes.',
  },
  GROUP_AUTHORIZATION_FAILED: {
    message: 'the right to read as this consumer group is missing',
    fix: 'Allow Read and Describe on the group: kafka-acls.sh --add --operation Read --group …',
  },
  CLUSTER_AUTHORIZATION_FAILED: {
    message: 'a right on the cluster is missing',
    fix: 'Allow IdempotentWrite to who publishes, Create to who makes topics, on the cluster.',
  },
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: {
    message: 'a right on the transactional id is missing',
    fix: 'Allow Write and Describe on the transactional id.',
  },
  SASL_AUTHENTICATION_FAILED: {
    message: 'user and password, or the token, are not accepted',
    fix: 'Correct user and password, or the token; the user must exist for this mechanism.',
  },
  UNSUPPORTED_SASL_MECHANISM: {
    message: 'it does not offer this SASL mechanism',
    fix: 'Choose another with ?mechanism= in the URL, or the port whose listener offers it.',
  },
};

function rightReason({ apiId, serverErrorMessage }: Fault): Reason | null {
  const reason = apiId === undefined ? undefined : rights[apiId];
  if (reason === undefined) return null;
  const more = serverErrorMessage ? ` (${serverErrorMessage})` : '';
  return { ...reason, message: reason.message + more };
}

/** By the client's own check of the broker's answer, or by the broker's code. */
function isLogin({ code, apiId }: Fault): boolean {
  return code === 'PLT_KFK_AUTHENTICATION' || apiId === 'SASL_AUTHENTICATION_FAILED';
}

/** The client calls a lost connection a failed login as well: only its own checks are one. */
function loginReason(fault: Fault): Reason | null {
  if (fault.code !== 'PLT_KFK_AUTHENTICATION') return null;
  if (everyErrorOf(fault as unknown as Error).length > 1) return null;
  return {
    message: fault.message,
    fix: 'Correct user and password, or the token; the user must exist for this mechanism.',
  };
}
