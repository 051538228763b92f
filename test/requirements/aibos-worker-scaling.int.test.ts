/**
 * The document's blocks on scaling. Each runs as a program of its own: one starts its own program
 * again as workers, the other needs three hosts of given names, which stand for loopback addresses.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { freshDatabase } from '../support/database.ts';

const execute = promisify(execFile);
const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);

/** What the program printed. */
async function runProgram(t: TestContext, code: string): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'millrace-scaling-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const program = path.join(directory, 'program.mjs');
  await writeFile(program, code);
  const flags = ['--conditions=millrace-source', program];
  const { stdout } = await execute(process.execPath, flags, { timeout: 60_000 });
  return stdout;
}

/** The stores that are there: where the block's connection leads. */
async function connections(t: TestContext): Promise<readonly object[]> {
  const { url: postgres, drop } = await freshDatabase();
  t.after(drop);
  const redis = process.env.REDIS_URL;
  return [{ postgres: { url: postgres } }, ...(redis ? [{ redis: { url: redis } }] : [])];
}

describe('scaling, as documented', () => {
  it('starts five workers', async (t) => {
    for (const connection of await connections(t)) {
      const said = await runProgram(
        t,
        `import { setTimeout as sleep } from 'node:timers/promises';
         const { connectJobs, defineJob } = await import(${url('../../src/index.ts')});
         const { horizontalScaling } = await import(${url('aibos-worker/horizontal-scaling.ts')});
         const connection = ${JSON.stringify(connection)};
         const { workerScaler } = await horizontalScaling({ connection });
         const jobs = await connectJobs((connection.postgres ?? connection.redis).url);
         if (process.env.MILLRACE_SCALED === '1') {
           jobs.work([defineJob('nothing', { handler: () => {} })]);
           // Before the start: a worker counts, and may be ended, as soon as it is registered.
           process.once('SIGTERM', () => jobs.stop().then(() => process.exit(0)));
           await jobs.start();
         } else {
           const live = async () => (await jobs.workers()).filter(({ alive }) => alive).length;
           while ((await live()) !== 5) await sleep(50);
           console.log(workerScaler.status.workers, 'workers');
           await workerScaler.stop();
           // One that was ended before it could say goodbye is counted for its time to live.
           const until = Date.now() + 15_000;
           while ((await live()) > 0 && Date.now() < until) await sleep(50);
           console.log(await live(), 'left');
           await jobs.stop();
         }`,
      );
      assert.equal(said, '5 workers\n0 left\n');
    }
  });

  it('gives out a worker that is healthy', async (t) => {
    const asked: (string | undefined)[] = [];
    for (const host of ['127.0.13.2', '127.0.13.3']) {
      const server = createServer((request, response) => {
        asked.push(request.headers.host);
        response.end();
      });
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject).listen(3001, host, resolve);
        });
      } catch (error) {
        server.close();
        return t.skip(`port 3001 of ${host} cannot be had: ${error}`);
      }
      t.after(() => {
        server.closeAllConnections();
        server.close();
      });
    }
    const said = await runProgram(
      t,
      `import dns from 'node:dns';
       const lookup = dns.lookup;
       dns.lookup = (name, ...rest) => lookup(name.replace('worker-', '127.0.13.'), ...rest);
       const { loadBalancing } = await import(${url('aibos-worker/load-balancing.ts')});
       const { loadBalancer, worker, isHealthy } = await loadBalancing();
       console.log(worker, isHealthy, loadBalancer.workers.map(({ healthy }) => healthy));`,
    );
    assert.equal(said, 'worker-2:3001 true [ false, true, true ]\n');
    assert.deepEqual(new Set(asked), new Set(['worker-2:3001', 'worker-3:3001']));
  });
});
