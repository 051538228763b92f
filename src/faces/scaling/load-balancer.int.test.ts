/** Real workers over HTTP on ports of this machine. */
import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../../test/support/eventually.ts';
import { WorkerError } from '../errors.ts';
import { LoadBalancer, type LoadBalancerOptions } from './load-balancer.ts';

interface TestWorker {
  readonly address: string;
  readonly paths: string[];
  /** What GET answers with; 0: nothing at all. */
  status: number;
}

async function startWorker(t: TestContext, status = 200): Promise<TestWorker> {
  const worker = { address: '', paths: [] as string[], status };
  const answer: RequestListener = (request, response) => {
    worker.paths.push(
      `${request.method} ${request.url} ${request.headers['x-check'] ?? ''}`.trim(),
    );
    if (worker.status > 0) response.writeHead(worker.status).end('{"status":"ok"}');
  };
  const server = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  worker.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return worker;
}

function open(t: TestContext, options: LoadBalancerOptions): LoadBalancer {
  const balancer = new LoadBalancer(options);
  t.after(() => balancer.stop());
  return balancer;
}

/** A port where nobody listens. */
const nobody = '127.0.0.1:9';
const quick = { interval: 20, timeout: 5_000 };

describe('the load balancer', () => {
  it('gives out healthy workers by turns, from the first request on', async (t) => {
    const [one, two] = [await startWorker(t), await startWorker(t)];
    const workers = [one.address, nobody, two.address];
    const balancer = open(t, { algorithm: 'round-robin', workers, healthCheck: quick });
    const given = [];
    for (let i = 0; i < 4; i += 1) given.push(await balancer.getNextWorker());
    assert.deepEqual(given, [one.address, two.address, one.address, two.address]);
    assert.equal(one.paths[0], 'GET /health');
    assert.deepEqual(
      balancer.workers.map(({ healthy }) => healthy),
      [true, false, true],
    );
  });

  it('takes a worker away after several failures, and back after several successes', async (t) => {
    const [one, two] = [await startWorker(t), await startWorker(t)];
    const healthCheck = { ...quick, unhealthyAfter: 3, healthyAfter: 2 };
    const balancer = open(t, { workers: [one.address, two.address], healthCheck });
    const heard: string[] = [];
    let failures = 0;
    balancer.on('checked', ({ worker, error }) => {
      if (worker === one.address && error !== null) failures += 1;
    });
    balancer.on('unhealthy', ({ worker, error }) => {
      heard.push(`unhealthy ${worker === one.address} after ${failures}: ${error.message}`);
    });
    balancer.on('healthy', ({ worker }) => heard.push(`healthy ${worker === one.address}`));
    await balancer.start();
    heard.length = 0;
    one.status = 503;
    await eventually('it is taken away', () => heard.length > 0);
    assert.match(heard[0] ?? '', /^unhealthy true after 3: GET http:.*\/health answered 503/);
    for (let i = 0; i < 3; i += 1) assert.equal(await balancer.getNextWorker(), two.address);
    one.status = 204;
    await eventually('it is back', () => heard[1] === 'healthy true');
    const given = [await balancer.getNextWorker(), await balancer.getNextWorker()];
    assert.ok(given.includes(one.address));
  });

  it('says so when none is left', async (t) => {
    const silent = await startWorker(t, 0);
    const lost = await startWorker(t, 302);
    const workers = [silent.address, lost.address, nobody];
    const balancer = open(t, { workers, healthCheck: { ...quick, timeout: 150 } });
    const reasons: string[] = [];
    balancer.on('unhealthy', ({ error }) => reasons.push(error.message));
    await assert.rejects(balancer.getNextWorker(), (error: unknown) => {
      assert.ok(error instanceof WorkerError);
      assert.equal(error.code, 'WORKER_UNAVAILABLE');
      assert.match(error.message, /None of 3 workers is healthy/);
      return true;
    });
    const all = reasons.join('\n');
    for (const reason of [
      /no answer for 150 ms/,
      /answered 302|no answer/,
      /ECONNREFUSED|bad port/,
    ]) {
      assert.match(all, reason);
    }
    await assert.rejects(open(t, { workers: [] }).getNextWorker(), /There are no workers/);
  });

  it('asks where it is told, and now when it is told', async (t) => {
    const worker = await startWorker(t);
    const healthCheck = { ...quick, path: '/ready?deep=1', headers: { 'x-check': 'lb' } };
    const balancer = open(t, { workers: [`http://${worker.address}/eu/`], healthCheck });
    const address = await balancer.getNextWorker();
    assert.equal(address, `http://${worker.address}/eu/`, 'as it was given');
    assert.equal(worker.paths[0], 'GET /eu/ready?deep=1 lb');
    await balancer.stop();
    assert.equal(await balancer.checkHealth(address), true);
    worker.status = 500;
    assert.equal(await balancer.checkHealth(address), false);
    await assert.rejects(balancer.checkHealth('elsewhere:1'), { code: 'NOT_FOUND' });
  });

  it('counts connections until they are released', async (t) => {
    const workers = ['a:1', 'b:1'];
    const options = { algorithm: 'least-connections', workers, healthCheck: false } as const;
    const balancer = open(t, options);
    const a = await balancer.take();
    const b = await balancer.getNextWorker();
    assert.deepEqual([a.worker, b], ['a:1', 'b:1']);
    a.release();
    a.release();
    assert.equal(await balancer.getNextWorker(), 'a:1');
    balancer.release(b);
    {
      using again = await balancer.take();
      assert.equal(again.worker, 'b:1');
    }
    assert.deepEqual(
      balancer.workers.map(({ connections }) => connections),
      [1, 0],
    );
  });

  it('lets workers come and go', async (t) => {
    const [one, two] = [await startWorker(t), await startWorker(t)];
    const balancer = open(t, { workers: [one.address], healthCheck: quick });
    await balancer.start();
    balancer.addWorker({ address: two.address, weight: 2 });
    await eventually('it has been checked', () => balancer.workers[1]?.healthy === true);
    balancer.removeWorker(one.address);
    assert.equal(await balancer.getNextWorker(), two.address);
    assert.throws(() => balancer.addWorker(two.address), /given twice/);
  });

  it('asks no more when it is stopped', async (t) => {
    const worker = await startWorker(t);
    const balancer = open(t, { workers: [worker.address], healthCheck: quick });
    await balancer.start();
    await eventually('a second check', () => worker.paths.length > 1);
    await balancer.stop();
    const { length } = worker.paths;
    assert.equal(await balancer.getNextWorker(), worker.address);
    await sleep(60); // there would have been three
    assert.equal(worker.paths.length, length);
  });

  it('refuses options that make no sense', () => {
    const refused = (options: Partial<LoadBalancerOptions>) =>
      assert.throws(() => new LoadBalancer({ workers: ['a:1'], ...options }), {
        code: 'CONFIG_INVALID',
      });
    refused({ algorithm: 'random' as never });
    refused({ workers: ['a:1', 'a:1'] });
    refused({ healthCheck: { timeout: 0 } });
    refused({ healthCheck: { path: 'health' } });
    refused({ healthCheck: { interval: 1.5 } });
  });
});
