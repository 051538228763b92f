/** Connection strings of Azure Event Hubs: `Endpoint=sb://…;SharedAccessKeyName=…;…`. */
import { type Host, wrongUrl } from './kafka-url.ts';

export interface ConnectionString {
  /** From `Endpoint`; the port is that of Kafka, which the string does not name. */
  readonly host: string;
  /** Null unless `Endpoint` names one. */
  readonly port: number | null;
  /** The one event hub that the key opens, when it is a key of a hub. */
  readonly entityPath: string | null;
  /** Microsoft's emulator: no TLS. */
  readonly emulator: boolean;
  readonly secret: string;
}

/** @throws MillraceError CONFIG_INVALID, which never repeats the text */
export function parseConnectionString(text: string): ConnectionString {
  const parts = new Map<string, string>();
  for (const part of text.split(';')) {
    if (part.trim() === '') continue;
    const at = part.indexOf('=');
    if (at < 1) throw wrong('has a part without a name');
    parts.set(part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim());
  }
  const host = endpointOf(parts.get('endpoint'));
  const secret = parts.get('sharedaccesskey') ?? parts.get('sharedaccesssignature');
  if (secret === undefined || secret === '') throw wrong('has no SharedAccessKey');
  if (parts.has('sharedaccesskey') && !parts.get('sharedaccesskeyname')) {
    throw wrong('has no SharedAccessKeyName');
  }
  return {
    ...host,
    entityPath: parts.get('entitypath') || null,
    emulator: parts.get('usedevelopmentemulator')?.toLowerCase() === 'true',
    secret,
  };
}

function endpointOf(endpoint: string | undefined): { host: string; port: Host['port'] | null } {
  const match = /^sb:\/\/([A-Za-z0-9][A-Za-z0-9._-]*)(?::(\d{1,5}))?\/?$/i.exec(endpoint ?? '');
  if (match === null) throw wrong('has no Endpoint=sb://…');
  return { host: match[1] as string, port: match[2] === undefined ? null : Number(match[2]) };
}

function wrong(what: string): Error {
  return wrongUrl(
    `The connection string of Event Hubs ${what}.`,
    'Copy it from the portal: Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…',
  );
}
