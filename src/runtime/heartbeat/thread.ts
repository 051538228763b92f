/** The heartbeat's thread: the pulses of all epochs of this process. Started by PulseThread. */
import { parentPort } from 'node:worker_threads';
import type { FromThread, ToThread } from './messages.ts';
import { Pulse } from './pulse.ts';

const pulses = new Map<number, Pulse>();

parentPort?.on('message', (message: ToThread) => {
  const { id } = message;
  if (message.kind === 'stop') {
    void stop(id);
    return;
  }
  const pulse = new Pulse(message.settings, (news) => say({ kind: 'news', id, news }));
  pulses.set(id, pulse);
  pulse.start();
});

async function stop(id: number): Promise<void> {
  await pulses.get(id)?.stop();
  pulses.delete(id);
  say({ kind: 'stopped', id });
}

function say(message: FromThread): void {
  parentPort?.postMessage(message);
}
