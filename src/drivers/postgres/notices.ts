/** Notices over LISTEN and NOTIFY, on connections of their own and never in a user's transaction. */
import pg from 'pg';
import type { NoticeChannel, NoticeHandlers } from '../../ports/store.ts';
import { type Database, translate } from './connection.ts';

const channel = 'millrace';
/** NOTIFY refuses payloads of 8,000 bytes and more. */
const noticeMax = 7_900;

export function createNotices(database: Database): NoticeChannel {
  return {
    async listen({ onNotice, onLost }: NoticeHandlers) {
      const client = new pg.Client(database.config);
      let closed = false;
      const lost = (cause: unknown) => {
        if (closed) return;
        closed = true;
        client.end().catch(() => {});
        onLost(cause);
      };
      client.on('error', lost);
      client.on('end', () => lost(new Error('the connection ended')));
      client.on('notification', ({ payload }) => onNotice(payload ?? ''));
      try {
        await client.connect();
        await client.query(`listen ${channel}`);
      } catch (error) {
        closed = true;
        client.end().catch(() => {});
        throw translate(error);
      }
      return {
        async close() {
          if (closed) return;
          closed = true;
          await client.end().catch(() => {});
        },
      };
    },
    async send(notice) {
      await database.rows({ name: 'millrace_notify', text: 'select pg_notify($1, $2)' }, [
        channel,
        notice.slice(0, noticeMax),
      ]);
    },
  };
}
