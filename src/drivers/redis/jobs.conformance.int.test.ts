/** The Redis store against the suite of its port, when a server is given. */
import { describe } from 'node:test';
import { testJobStore } from '../../ports/jobs.conformance.ts';
import { openRedisJobStore } from './store.ts';
import { freshPrefix } from './test-keys.ts';

const url = process.env.REDIS_URL;

if (url) {
  testJobStore('the job store on Redis', async () => {
    const { prefix, remove } = freshPrefix(url);
    return { open: () => openRedisJobStore({ url, prefix }), remove };
  });
} else {
  describe('the job store on Redis', { skip: 'REDIS_URL is not set' }, () => {});
}
