/**
 * What the driver itself takes from the URL, beside what `security/` reads there: how batches are
 * compressed and which protocol groups speak. Taken out before `security/` sees the URL, which
 * refuses what it does not know.
 */
import { compressionsAlgorithms } from '@platformatic/kafka';
import { MillraceError } from '../../core/errors.ts';

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';
export type GroupProtocol = 'classic' | 'consumer';

export interface DriverOptions {
  /** The URL without our parameters. */
  readonly url: string;
  readonly compression: Compression;
  /** Null: the newest that the broker has. */
  readonly groupProtocol: GroupProtocol | null;
  /** Classic groups: a member that is silent this long is out. Milliseconds. */
  readonly sessionTimeoutMs: number;
}

const compressions: readonly string[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];
const ours = ['compression', 'groupProtocol', 'sessionTimeoutMs'];

/** @throws MillraceError CONFIG_INVALID */
export function driverOptions(url: string): DriverOptions {
  const at = url.indexOf('?');
  const isUrl = /^[a-z+]+:\/\//i.test(url);
  const parameters = new URLSearchParams(at === -1 || !isUrl ? '' : url.slice(at + 1));
  const compression = parameters.get('compression') ?? 'none';
  if (!compressions.includes(compression)) {
    throw wrong('compression', `Write one of ${compressions.join(', ')}.`);
  }
  if (!compressionsAlgorithms[compression as Compression].available) {
    throw wrong('compression', `This Node.js has no ${compression}; write gzip.`);
  }
  const groupProtocol = parameters.get('groupProtocol');
  if (groupProtocol !== null && groupProtocol !== 'classic' && groupProtocol !== 'consumer') {
    throw wrong('groupProtocol', 'Write classic or consumer, or leave it out.');
  }
  const session = Number(parameters.get('sessionTimeoutMs') ?? '15000');
  if (!Number.isInteger(session) || session < 1000 || session > 1_800_000) {
    throw wrong('sessionTimeoutMs', 'Write a whole number from 1000 to 1800000.');
  }
  for (const name of ours) parameters.delete(name);
  const rest = parameters.size === 0 ? '' : `?${parameters}`;
  return {
    url: at === -1 || !isUrl ? url : url.slice(0, at) + rest,
    compression: compression as Compression,
    groupProtocol,
    sessionTimeoutMs: session,
  };
}

function wrong(name: string, fix: string): MillraceError {
  const message = `The parameter ${name} of the Kafka URL has a value that is not allowed.`;
  return new MillraceError('CONFIG_INVALID', message, { fix });
}
