/**
 * Lets a live connection show its next token undisturbed. The client starts that by itself when
 * 80 % of the session are over, yet other requests may slip between the two of the login, and the
 * broker then cuts the connection: with 12 callers on one, at each renewal. So they wait here.
 */
import { type Connection, ConnectionStatuses } from '@platformatic/kafka';

type Send = (...args: Parameters<Connection['send']>) => void;

/** What a login consists of (SaslHandshake, ApiVersions, SaslAuthenticate). */
const loginKeys: ReadonlySet<number> = new Set([17, 18, 36]);

export function guardReauthentication(connection: Connection): void {
  const send = connection.send.bind(connection) as Send;
  let waiting: Parameters<Connection['send']>[] = [];

  const hold: Send = (...args) => {
    const isLogin = loginKeys.has(args[0]);
    if (isLogin || connection.status !== ConnectionStatuses.REAUTHENTICATING) send(...args);
    else waiting.push(args);
  };
  connection.send = hold as Connection['send'];

  // Its timer outlives the connection: a dead one would wait for an answer to its login.
  const again = connection.reauthenticate.bind(connection);
  connection.reauthenticate = () => {
    if (connection.isConnected()) again();
  };

  // In their order; after a failed login the client refuses each as "closed", which is right.
  const release = () => {
    const released = waiting;
    waiting = [];
    for (const args of released) send(...args);
  };
  connection.on('connect', release);
  connection.on('error', release);
  connection.on('close', release);
}
