/** Notices over PUBLISH, which a cluster carries to every node. Listeners have own connections. */
import type { NoticeChannel } from '../../ports/notices.ts';
import type { Context } from './context.ts';

export function createNotices({ redis, keys }: Context): NoticeChannel {
  return {
    async listen({ onNotice, onLost }) {
      const close = await redis.subscribe(keys.notices, { onMessage: onNotice, onLost });
      return { close };
    },
    async send(notice) {
      await redis.send(null, ['PUBLISH', keys.notices, notice]);
    },
  };
}
