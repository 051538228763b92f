// #region document
import type { WorkerEventSystem, WorkerNotification, WorkerQueueEvent } from 'millrace';

/** Says what a notification is about. */
export function describe(notification: WorkerNotification): string {
  switch (notification.type) {
    case 'Event': {
      const event: WorkerQueueEvent = notification.event;
      const { namespace, queueName, path } = event.message;
      return `${namespace}: messages in ${queueName}, heard of by ${path}`;
    }
    case 'Health': {
      const { before, status, problems } = notification.health;
      return `${before} → ${status} ${problems.join('; ')}`.trim();
    }
  }
}

export function watch(system: WorkerEventSystem, lines: string[]): () => void {
  return system.on('notification', (notification) => void lines.push(describe(notification)));
}
// #endregion
