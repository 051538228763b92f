/** What a Redis may refuse, and what becomes of us then: memory, rights, replicas, silence, TLS. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { describe, it } from 'node:test';
import { makeCertificates, noCertificates } from '../../../../test/support/certificates.ts';
import { freePort } from '../../../../test/support/ports.ts';
import { rejectsWith, upTo, within } from '../../../ports/broker.fixtures.conformance.ts';
import { openRedis } from '../connection.ts';
import { noServer, TestServer } from '../test-server.ts';
import { openRedisBroker } from './broker.ts';
import { eventFor, openStage, userRules } from './test-streams.ts';

const unavailable = rejectsWith('BROKER_UNAVAILABLE');
const denied = rejectsWith('BROKER_DENIED');

describe('a Redis that refuses', { skip: noServer }, () => {
  it('for want of memory is unavailable, and takes events again', async (t) => {
    const { url } = await TestServer.started(t);
    const stage = await openStage(t, url);
    const member = await stage.join({ acknowledges: false });
    await stage.publish(10);
    await member.received(10);
    await stage.redis.send(null, ['CONFIG', 'SET', 'maxmemory', '1']);
    await assert.rejects(stage.publish(1, { first: 10 }), (error: Error) => {
      unavailable(error);
      assert.match(error.message, /memory/);
      return true;
    });
    await member.acknowledge(member.deliveries);
    await stage.redis.send(null, ['CONFIG', 'SET', 'maxmemory', '0']);
    await stage.publish(1, { first: 10 });
    await member.received(11);
  });

  it('as a replica is unavailable, before and after we came', async (t) => {
    const [primary, server] = [await TestServer.started(t), await TestServer.started(t)];
    const stage = await openStage(t, server.url);
    const port = new URL(primary.url).port;
    await stage.redis.send(null, ['REPLICAOF', '127.0.0.1', port]);
    await assert.rejects(stage.publish(1), unavailable);
    await assert.rejects(openRedisBroker({ url: server.url }), (error: Error) => {
      unavailable(error);
      assert.match(error.message, /replica/);
      return true;
    });
    await stage.redis.send(null, ['REPLICAOF', 'NO', 'ONE']);
  });

  it('rights that are missing denies us; those of the docs are enough', async (t) => {
    const { url } = await TestServer.started(t);
    const stage = await openStage(t, url);
    const withUser = async (name: string, rules: readonly string[]) => {
      await stage.redis.send(null, ['ACL', 'SETUSER', name, 'on', '>secret', ...rules]);
      return stage.open({ username: name, password: 'secret' });
    };
    const reader = await withUser('reader', ['~*', '+@read', '+info', '+client', '+ping']);
    await assert.rejects(reader.createTopics([{ topic: 'x', partitions: 1 }]), denied);
    const rules = await userRules();
    const broker = await withUser('worker', rules);
    await broker.createTopics([{ topic: stage.topic.topic, partitions: 2 }]);
    const errors: unknown[] = [];
    const member = await stage.join({ broker });
    await broker.publish([await eventFor(stage, 0)]);
    await member.received(1);
    await member.acknowledged();
    assert.equal((await broker.lag('group', [stage.topic.topic]))[0]?.lag, 0);
    assert.deepEqual([...member.errors, ...errors], []);
    const other = await withUser(
      'other',
      rules.map((rule) => rule.replace('~millrace:', '~its:')),
    );
    await assert.rejects(other.publish([await eventFor(stage, 0)]), denied);
  });

  it('says at once what would not survive a crash', async (t) => {
    const told: string[] = [];
    const onError = (error: unknown) => told.push((error as Error).message);
    for (const options of [['--appendonly', 'no'], ['--appendfsync', 'everysec'], []]) {
      const { url } = await TestServer.started(t, options);
      const broker = await openRedisBroker({ url, onError });
      assert.equal((await broker.health()).ok, true);
      await broker.close();
    }
    assert.equal(told.length, 2);
    assert.match(told[0] as string, /no log of writes/);
    assert.match(told[1] as string, /appendfsync everysec/);
  });

  it('to answer for long loses its members their partitions, and goes on', async (t) => {
    const server = await TestServer.started(t);
    const stage = await openStage(t, server.url, { partitions: 1 });
    const member = await stage.join({ acknowledges: false });
    await stage.publish(10);
    await member.received(10);
    server.pause();
    await within('it takes them for lost', () => member.revocations.some(({ lost }) => lost));
    assert.equal(member.held.size, 0);
    server.resume();
    await within('it has them again', () => member.held.size === 1);
    await within('they come again', () => member.deliveries.length >= 20);
    const again = member.deliveries.slice(10, 20);
    assert.deepEqual(
      again.map(({ event }) => JSON.parse(`${event?.dataJson}`).n),
      upTo(10),
    );
    assert.ok(again.every(({ redelivered }) => redelivered));
  });

  it('in a cluster serves topics of any slot', async (t) => {
    const { url } = await TestServer.started(t, ['--cluster-enabled', 'yes']);
    const { createClient } = await import('@redis/client');
    const client = createClient({ url });
    await client.connect();
    await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383']);
    await within('the cluster is ready', async () =>
      String(await client.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:ok'),
    );
    await client.close();
    const stage = await openStage(t, url);
    const member = await stage.join();
    await stage.publish(1_000);
    await stage.publish(1_000, { partition: 1 });
    await member.received(2_000);
    await member.acknowledged();
    const lags = await stage.broker.lag('group', [stage.topic.topic]);
    assert.deepEqual(
      lags.map(({ lag }) => lag),
      [0, 0],
    );
    assert.deepEqual(await stage.broker.topics(), [{ topic: stage.topic.topic, partitions: 2 }]);
  });
});

describe('a Redis with TLS', { skip: noServer || noCertificates }, () => {
  it('is believed by its certificate, and believes ours', async (t) => {
    const directory = await fs.mkdtemp(path.join(os.tmpdir(), 'millrace-tls-'));
    t.after(() => fs.rm(directory, { recursive: true, force: true }));
    const { ca, otherCa, caFile, server, client } = await makeCertificates(directory);
    const file = async (name: string, text: string) => {
      await fs.writeFile(path.join(directory, name), text);
      return path.join(directory, name);
    };
    const port = await freePort();
    const own = ['--tls-cert-file', await file('redis.crt', server.cert)];
    const key = ['--tls-key-file', await file('redis.key', server.key)];
    const listening = ['--tls-port', String(port), '--tls-ca-cert-file', caFile];
    await TestServer.started(t, [...own, ...key, ...listening]);
    const url = `rediss://127.0.0.1:${port}`;
    const tls = { ca, cert: client.cert, key: client.key };
    const broker = await openRedisBroker({ url, tls });
    assert.equal((await broker.health()).ok, true);
    await broker.close();
    await assert.rejects(openRedisBroker({ url, tls: { ...tls, ca: otherCa } }), denied);
    await assert.rejects(openRedisBroker({ url, tls: { ca } }), (error: { code?: string }) =>
      ['BROKER_DENIED', 'BROKER_UNAVAILABLE'].includes(`${error.code}`),
    );
    const plain = await openRedis(`redis://127.0.0.1:${port}`).catch((error) => error);
    assert.equal((plain as { code?: string }).code, 'STORE_UNAVAILABLE');
  });
});
