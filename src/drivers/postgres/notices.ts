/**
 * Notices over LISTEN and NOTIFY, on connections of their own and never in a user's transaction.
 */
import type { Duplex } from 'node:stream';
import pg from 'pg';
import type { NoticeChannel, NoticeHandlers } from '../../ports/notices.ts';
import { type Database, translate } from './connection.ts';

/** NOTIFY refuses payloads of 8,000 bytes and more. */
const noticeMax = 7_900;
const farewellMsMax = 1_000;

export function createNotices(database: Database, channel = 'millrace'): NoticeChannel {
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
          // A half-open connection never answers the farewell.
          const { stream } = (client as unknown as { connection: { stream: Duplex } }).connection;
          const impatience = setTimeout(() => stream.destroy(), farewellMsMax);
          await client.end().catch(() => {});
          clearTimeout(impatience);
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
