/**
 * Certificates for tests, made by openssl: an authority, a server's for localhost and 127.0.0.1, a
 * client's, expired ones, one for another host, and the same client's of an authority that nobody
 * trusts. Keys are PKCS #8, which Node and Java both read.
 */
import { execFile, spawnSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Why there are no certificates; false when they can be made. */
export const noCertificates: string | false =
  spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  /** A file with the key, its certificate and the authority's: Kafka's PEM key store. */
  readonly store: string;
}

export interface Certificates {
  readonly ca: string;
  /** The file of `ca`: Kafka's PEM trust store. */
  readonly caFile: string;
  /** Of an authority that signed nothing of the server. */
  readonly otherCa: string;
  readonly server: Certificate;
  /** Its last day is over. */
  readonly expiredServer: Certificate;
  /** For broker.example.com: right in all but the name. */
  readonly namedServer: Certificate;
  /** CN=millrace. */
  readonly client: Certificate;
  readonly expiredClient: Certificate;
  /** CN=millrace as well, by the other authority. */
  readonly foreignClient: Certificate;
}

const local = 'DNS:localhost,IP:127.0.0.1';

/** Writes them below `directory`, which must exist. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const [ours, theirs] = await Promise.all([
    authority(directory, 'authority'),
    authority(directory, 'other-authority'),
  ]);
  const make = (signer: string, file: string, options: SignOptions) =>
    sign(directory, signer, file, options);
  const [server, expiredServer, namedServer, client, expiredClient, foreignClient] =
    await Promise.all([
      make('authority', 'server', { name: 'broker', hosts: local }),
      make('authority', 'expired-server', { name: 'broker', hosts: local, days: -1 }),
      make('authority', 'named-server', { name: 'broker', hosts: 'DNS:broker.example.com' }),
      make('authority', 'client', { name: 'millrace' }),
      make('authority', 'expired-client', { name: 'millrace', days: -1 }),
      make('other-authority', 'foreign-client', { name: 'millrace' }),
    ]);
  return {
    ca: ours,
    caFile: path.join(directory, 'authority.pem'),
    otherCa: theirs,
    server,
    expiredServer,
    namedServer,
    client,
    expiredClient,
    foreignClient,
  };
}

const newKey = ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out'];

async function authority(directory: string, file: string): Promise<string> {
  const key = path.join(directory, `${file}.key`);
  const cert = path.join(directory, `${file}.pem`);
  await run('openssl', [...newKey, key]);
  const subject = ['-subj', `/CN=${file}`, '-days', '2'];
  await run('openssl', ['req', '-x509', '-new', '-key', key, '-out', cert, ...subject]);
  return fs.readFile(cert, 'utf8');
}

interface SignOptions {
  readonly name: string;
  readonly hosts?: string;
  readonly days?: number;
}

async function sign(
  directory: string,
  signer: string,
  file: string,
  { name, hosts, days = 2 }: SignOptions,
): Promise<Certificate> {
  const at = (end: string) => path.join(directory, `${file}.${end}`);
  const ca = path.join(directory, signer);
  await run('openssl', [...newKey, at('key')]);
  await run('openssl', [
    ...['req', '-new', '-key', at('key'), '-subj', `/CN=${name}`, '-out', at('csr')],
  ]);
  const usage = hosts === undefined ? 'clientAuth' : `serverAuth\nsubjectAltName=${hosts}`;
  await fs.writeFile(at('ext'), `extendedKeyUsage=${usage}\n`);
  await run('openssl', [
    ...['x509', '-req', '-in', at('csr'), '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`],
    ...['-set_serial', `0x${Buffer.from(file).toString('hex').slice(0, 30)}`],
    ...['-days', `${days}`, '-extfile', at('ext'), '-out', at('pem')],
  ]);
  const [cert, key, signed] = await Promise.all(
    [at('pem'), at('key'), `${ca}.pem`].map((one) => fs.readFile(one, 'utf8')),
  );
  const store = at('store.pem');
  await fs.writeFile(store, `${key}${cert}${signed}`);
  return { cert: cert as string, key: key as string, store };
}
