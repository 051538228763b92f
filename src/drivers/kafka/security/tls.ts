/** Certificates as the client takes them, from settings or files, checked before the first use. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerTls } from '../../../ports/broker.ts';
import type { KafkaUrl } from './kafka-url.ts';

export interface TlsOptions {
  /** One for all connections: reading the system's certificates takes milliseconds. */
  readonly secureContext: SecureContext;
  readonly servername?: string;
}

/** Parameters of the URL that name files, for those who configure by the URL alone. */
const files = ['ca', 'cert', 'key'] as const;

/** True when certificates are given, one way or the other. */
export function givesTls(tls: BrokerTls | undefined, { parameters }: KafkaUrl): boolean {
  return tls !== undefined || files.some((name) => parameters.has(name));
}

/** @throws MillraceError CONFIG_INVALID; the cause is OpenSSL's reason, which shows no key */
export async function tlsOptions(tls: BrokerTls = {}, url: KafkaUrl): Promise<TlsOptions> {
  const [ca, cert, key] = await Promise.all(files.map((name) => tls[name] ?? readPem(url, name)));
  const { passphrase } = tls;
  if ((cert === undefined) !== (key === undefined)) {
    throw wrongTls(
      cert === undefined
        ? 'A key is given without its certificate.'
        : 'A certificate is given without its key.',
      'For mutual TLS give both `cert` and `key`; for TLS alone neither.',
    );
  }
  const servername = tls.serverName ?? url.parameters.get('server-name');
  try {
    if (ca !== undefined) checkCertificates(ca);
    const secureContext = createSecureContext({
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(passphrase !== undefined && { passphrase }),
      minVersion: 'TLSv1.2',
    });
    return { secureContext, ...(servername !== undefined && { servername }) };
  } catch (error) {
    throw wrongTls(
      `A certificate or key for the broker cannot be used: ${reasonOf(error)}.`,
      'Give PEM text, not a path; the key must fit the certificate, the passphrase the key.',
      error,
    );
  }
}

async function readPem({ parameters }: KafkaUrl, name: string): Promise<string | undefined> {
  const file = parameters.get(name);
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw wrongTls(
      `The file that ?${name}= of the Kafka URL names cannot be read: ${reasonOf(error)}.`,
      `Look whether ${file} exists and whether this process may read it.`,
      error,
    );
  }
}

/** Node takes text that holds no certificate for an empty list, and then trusts nobody. */
function checkCertificates(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (blocks === null) throw Object.assign(new Error(), { code: 'no certificate in it' });
  for (const block of blocks) new X509Certificate(block);
}

function reasonOf(error: unknown): string {
  const { reason, code } = error as { reason?: string; code?: string };
  return reason ?? code ?? 'unreadable';
}

function wrongTls(message: string, fix: string, cause?: unknown): MillraceError {
  return new MillraceError('CONFIG_INVALID', message, { fix, cause });
}
