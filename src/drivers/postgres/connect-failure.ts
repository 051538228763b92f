/**
 * What a Postgres server says to who comes for the first time, in our words: a wrong password, a
 * database that is not there, a right that is missing. Everything else is said by the driver.
 */
import { MillraceError } from '../../core/errors.ts';

interface Refusal {
  readonly is: (code: string, message: string) => boolean;
  readonly fix: string;
}

/** Of whoever makes the schema and its roles. */
export const missingRights =
  'Connect once as a user with CREATEROLE and CREATE on the database, or let an administrator ' +
  'create the roles millrace_owner, millrace_worker and millrace_app and grant them to this user.';

const refusals: readonly Refusal[] = [
  {
    // Without a password in the URL, pg itself fails, without a code.
    is: (code, message) => /^28/.test(code) || message.startsWith('SASL: '),
    fix: 'Correct user and password in the URL; pg_hba.conf of the server says who may connect.',
  },
  {
    is: (code) => code === '3D000',
    fix: 'Create the database, or correct its name: it stands last in the URL.',
  },
  {
    is: (code) => code === '42501',
    fix: missingRights,
  },
  {
    is: (code, message) => code === '22023' && message.includes('millrace_worker'),
    fix: 'Connect once with migrate: true, which makes the schema and its roles.',
  },
  {
    is: (code, message) => /CERT|SELF_SIGNED|ERR_TLS/.test(code) || /support SSL/.test(message),
    fix:
      'Set sslmode in the URL as the server needs it: verify-full, no-verify or disable; ' +
      'NODE_EXTRA_CA_CERTS names a file with a CA of your own.',
  },
];

/** What opens a store, with refusals of the server in our words. */
export async function refused<T>(opening: Promise<T>): Promise<T> {
  try {
    return await opening;
  } catch (error) {
    throw connectFailure(error);
  }
}

/** Errors that are ours, or nobody's, come back as they are. */
export function connectFailure(error: unknown): unknown {
  if (error instanceof MillraceError || !(error instanceof Error)) return error;
  const { code = '', message } = error as Error & { readonly code?: string };
  const refusal = refusals.find(({ is }) => is(code, message));
  if (refusal === undefined) return error;
  return new MillraceError('STORE_MISCONFIGURED', `Postgres refuses: ${message}`, {
    cause: error,
    fix: refusal.fix,
  });
}
