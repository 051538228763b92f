/**
 * Hears of errors of single connections that the client keeps to itself. A broker that wants
 * another certificate says so after the handshake, on a connection that counts as open: the request
 * under way fails as "closed" only. Each client's `context` gets what its connections said last.
 *
 * It also keeps the process alive: an error of a connection that nobody listens to any more would
 * end it.
 */
import { type Connection, instancesChannel } from '@platformatic/kafka';
import { type Denial, noteError } from './denials.ts';
import { guardReauthentication } from './reauthentication.ts';

/** Azure's load balancer forgets what is silent for 4 minutes, and others sooner. */
const keepAliveMs = 30_000;

let isWatching = false;

export function watchConnections(): void {
  if (isWatching) return;
  isWatching = true;
  instancesChannel.subscribe((message) => {
    const { type, instance } = message as { type: string; instance: Connection };
    if (type !== 'connection' || !isContext(instance.context)) return;
    const context = instance.context;
    instance.on('error', (error) => noteError(context, error));
    instance.on('connect', () => instance.socket.setKeepAlive(true, keepAliveMs));
    guardReauthentication(instance);
  });
}

function isContext(context: unknown): context is Denial {
  return typeof context === 'object' && context !== null && 'latest' in context;
}
