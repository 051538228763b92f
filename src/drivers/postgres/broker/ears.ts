/**
 * Notices between members of groups, and of processes that append to the log. They make things
 * quick and are never needed: members look by themselves now and then.
 */
import type { NoticeListener } from '../../../ports/notices.ts';
import type { Store } from '../../../ports/store.ts';

const relistenMs = 500;

export interface Ears {
  open(): Promise<void>;
  tell(notice: string): void;
  readonly announce: () => void;
  close(): Promise<void>;
}

export function createEars(
  store: Store,
  handlers: {
    /** Null: any partition may have new events. */
    onHeads(partition: number | null): void;
    onMembers(): void;
    onError(error: unknown, where: string): void;
  },
): Ears {
  let listener: Promise<NoticeListener | null> | null = null;
  let again: NodeJS.Timeout | null = null;
  let closed = false;
  const onNotice = (notice: string) => {
    if (notice === 'members') handlers.onMembers();
    if (!notice.startsWith('heads ')) return;
    for (const pair of notice.slice(6).split(',')) handlers.onHeads(Number.parseInt(pair, 10));
  };
  const onLost = (cause: unknown) => {
    listener = null;
    if (closed) return;
    handlers.onError(cause, 'notices');
    again = setTimeout(() => {
      void ears.open().then(() => handlers.onHeads(null));
    }, relistenMs).unref();
  };
  const tell = (notice: string) => {
    if (!store.capabilities.notices) return;
    store.notices.send(notice).catch((error) => handlers.onError(error, 'notices'));
  };
  const ears: Ears = {
    async open() {
      if (closed || !store.capabilities.notices) return;
      listener ??= store.notices.listen({ onNotice, onLost }).catch((error) => {
        onLost(error);
        return null;
      });
      await listener;
    },
    tell,
    announce: () => tell('members'),
    async close() {
      closed = true;
      if (again !== null) clearTimeout(again);
      await (await listener)?.close();
    },
  };
  return ears;
}
