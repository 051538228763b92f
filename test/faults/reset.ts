/**
 * Ends a connection by a reset, in the middle of whatever it carries.
 *
 * Node 24 cannot reset a socket whose FIN is under way: libuv answers EINVAL, the handle is lost,
 * and the process spins for ever where it should end. So a socket that is ending is destroyed, and
 * one that was reset is never destroyed as well before its reset is through.
 */
import type { Socket } from 'node:net';

const resetting = new WeakSet<Socket>();

export function reset(socket: Socket): void {
  if (resetting.has(socket)) return;
  if (socket.writableEnded) {
    socket.destroy();
    return;
  }
  resetting.add(socket);
  socket.resetAndDestroy();
}

/** As socket.destroy(), also for a socket that may be in the middle of its reset. */
export function destroy(socket: Socket): void {
  // Without bytes to write, the FIN that goes before the reset may be under way.
  if (!resetting.has(socket) || socket.writableLength > 0) socket.destroy();
}
