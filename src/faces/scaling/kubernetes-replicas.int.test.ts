/**
 * The real client of Kubernetes against a server of this machine that speaks the scale subresource
 * of a Deployment: optimistic concurrency, refusals, silence.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { registerHooks } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { eventually } from '../../../test/support/eventually.ts';
import { WorkerError } from '../errors.ts';
import { KubernetesReplicas, type KubernetesReplicasOptions } from './kubernetes-replicas.ts';

interface Cluster {
  readonly kubeConfig: string;
  /** `GET 200`, `PATCH 409`, in order. */
  readonly calls: string[];
  replicas: number;
  version: number;
  /** Answers instead of the usual one: a status, 'silence', or work done before the usual one. */
  trouble: (request: {
    readonly method: string;
    readonly call: number;
  }) => number | 'silence' | null;
}

const scaleUrl = /^\/apis\/apps\/v1\/namespaces\/([^/]+)\/deployments\/([^/]+)\/scale$/;

async function startCluster(t: TestContext, token = 'secret'): Promise<Cluster> {
  const cluster: Cluster = {
    kubeConfig: '',
    calls: [],
    replicas: 3,
    version: 7,
    trouble: () => null,
  };
  const server = createServer(async (request, response) => {
    const method = request.method ?? '';
    const body = await bodyOf(request);
    const answer = (status: number, value: unknown) => {
      cluster.calls.push(`${method} ${status}`);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    const refuse = (code: number, message: string) =>
      answer(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message });
    const trouble = cluster.trouble({ method, call: cluster.calls.length + 1 });
    if (trouble === 'silence') return void cluster.calls.push(`${method} silence`);
    if (trouble !== null) return refuse(trouble, `trouble ${trouble}`);
    const [, namespace, name] = scaleUrl.exec((request.url ?? '').split('?')[0] ?? '') ?? [];
    if (request.headers.authorization !== `Bearer ${token}`) return refuse(401, 'Unauthorized');
    if (namespace !== 'mill' || name !== 'workers') return refuse(404, `no ${namespace}/${name}`);
    if (method === 'PATCH') {
      const type = request.headers['content-type'];
      if (type !== 'application/merge-patch+json') return refuse(415, `content type ${type}`);
      const { metadata, spec } = JSON.parse(body);
      if (metadata.resourceVersion !== String(cluster.version)) return refuse(409, 'was modified');
      if (spec.replicas !== cluster.replicas) cluster.version += 1;
      cluster.replicas = spec.replicas;
    }
    const spec = cluster.replicas === 0 ? {} : { replicas: cluster.replicas };
    const metadata = { name, namespace, resourceVersion: String(cluster.version) };
    answer(200, { kind: 'Scale', apiVersion: 'autoscaling/v1', metadata, spec });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return Object.assign(cluster, { kubeConfig: await writeConfig(t, port, token) });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request) text += part;
  return text;
}

async function writeConfig(t: TestContext, port: number, token: string): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'millrace-kube-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = path.join(directory, 'config');
  const server = `http://127.0.0.1:${port}`;
  // The client speaks http only to those who say that they know it is no TLS.
  const clusters = [{ name: 'here', cluster: { server, 'insecure-skip-tls-verify': true } }];
  const users = [{ name: 'me', user: { token } }];
  const context = { cluster: 'here', user: 'me', namespace: 'mill' };
  const contexts = [{ name: 'mine', context }];
  const config = { apiVersion: 'v1', kind: 'Config', clusters, users, contexts };
  await writeFile(file, JSON.stringify({ ...config, 'current-context': 'mine' }));
  return file;
}

function open(
  t: TestContext,
  { kubeConfig }: Pick<Cluster, 'kubeConfig'>,
  options: Partial<KubernetesReplicasOptions> = {},
): KubernetesReplicas {
  const replicas = new KubernetesReplicas({ deployment: 'workers', kubeConfig, ...options });
  t.after(() => replicas.close());
  return replicas;
}

function fails(message: RegExp, rest: { code?: string; retryable?: boolean; fix?: RegExp } = {}) {
  return (error: unknown) => {
    assert.ok(error instanceof WorkerError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, rest.code ?? 'SCALING_FAILED');
    if (rest.retryable !== undefined) assert.equal(error.retryable, rest.retryable);
    if (rest.fix !== undefined) assert.match(error.fix, rest.fix);
    return true;
  };
}

describe('the replicas of a Deployment', () => {
  // First: what is loaded once stays.
  it('need the client, which is not installed by itself', async (t) => {
    const cluster = await startCluster(t);
    const hooks = registerHooks({
      resolve(specifier, context, next) {
        if (specifier !== '@kubernetes/client-node') return next(specifier, context);
        throw new Error('Cannot find package');
      },
    });
    const absent = { retryable: false, fix: /npm install @kubernetes\/client-node/ };
    await assert.rejects(open(t, cluster).count(), fails(/cannot be loaded: Cannot find/, absent));
    hooks.deregister();
  });

  it('are read and set', async (t) => {
    const cluster = await startCluster(t);
    const replicas = open(t, cluster);
    assert.equal(await replicas.count(), 3);
    await replicas.scaleTo(5);
    assert.equal(cluster.replicas, 5);
    await replicas.scaleTo(0);
    assert.equal(await replicas.count(), 0, 'which the API leaves out');
    const { length } = cluster.calls;
    await replicas.scaleTo(0);
    assert.deepEqual(cluster.calls.slice(length), ['GET 200'], 'nothing to change');
  });

  it('are read again when somebody was faster', async (t) => {
    const cluster = await startCluster(t);
    const replicas = open(t, cluster);
    cluster.trouble = ({ method, call }) => {
      // Somebody else scales between our read and our write.
      if (method === 'PATCH' && call === 2) {
        cluster.replicas = 9;
        cluster.version += 1;
      }
      return null;
    };
    await replicas.scaleTo(4);
    assert.equal(cluster.replicas, 4);
    assert.deepEqual(cluster.calls, ['GET 200', 'PATCH 409', 'GET 200', 'PATCH 200']);
    cluster.calls.length = 0;
    cluster.trouble = ({ method }) => (method === 'PATCH' ? 409 : null);
    await assert.rejects(replicas.scaleTo(5), fails(/409: trouble 409/, { retryable: true }));
    assert.equal(cluster.calls.length, 10, 'five times, and then the next look tries again');
  });

  it('are not asked for in vain', async (t) => {
    const cluster = await startCluster(t);
    const replicas = open(t, cluster);
    cluster.trouble = () => 403;
    const forbidden = { retryable: false, fix: /patch on deployments\/scale/ };
    await assert.rejects(replicas.count(), fails(/mill\/workers.*403: trouble 403/, forbidden));
    assert.deepEqual(cluster.calls, ['GET 403']);
    cluster.trouble = () => null;
    const nowhere = open(t, cluster, { deployment: 'nothing' });
    await assert.rejects(nowhere.scaleTo(1), fails(/404: no mill\/nothing/, { retryable: false }));
    const elsewhere = open(t, cluster, { namespace: 'other' });
    await assert.rejects(elsewhere.count(), fails(/404: no other\/workers/));
    const other = await startCluster(t, 'another');
    const stranger = open(t, { kubeConfig: await withToken(t, other, 'wrong') });
    await assert.rejects(stranger.count(), fails(/401/, { fix: /not known to the cluster/ }));
  });

  it('wait while the cluster is away for a moment', async (t) => {
    const cluster = await startCluster(t);
    const replicas = open(t, cluster, { timeoutMs: 150 });
    cluster.trouble = ({ call }) => ([503, 'silence', 429] as const)[call - 1] ?? null;
    assert.equal(await replicas.count(), 3);
    assert.deepEqual(cluster.calls, ['GET 503', 'GET silence', 'GET 429', 'GET 200']);
    cluster.trouble = () => 'silence';
    const impatient = open(t, cluster, { timeoutMs: 30 });
    const silent = { retryable: true };
    await assert.rejects(impatient.count(), fails(/does not answer.*no answer in time/, silent));
  });

  it('are not waited for when it is closed', async (t) => {
    const cluster = await startCluster(t);
    const replicas = open(t, cluster);
    cluster.trouble = () => 500;
    const counting = assert.rejects(replicas.count(), fails(/500/));
    await eventually('it was asked', () => cluster.calls.length > 0);
    await replicas.close();
    await counting;
    assert.ok(cluster.calls.length < 5);
  });

  it('say what is wrong with their options', async (t) => {
    const name = { deployment: 'No Such Name' };
    const make = () => new KubernetesReplicas(name);
    assert.throws(make, fails(/is not the name of a Deployment/, { code: 'CONFIG_INVALID' }));
    const missing = open(t, { kubeConfig: '/no/such/config' });
    const config = { code: 'CONFIG_INVALID', fix: /Check the file and the context/ };
    await assert.rejects(missing.count(), fails(/kubeconfig cannot be used.*ENOENT/, config));
    const cluster = await startCluster(t);
    const nowhere = open(t, cluster, { context: 'nowhere' });
    await assert.rejects(nowhere.count(), fails(/names no cluster/, config));
    const gone = open(t, { kubeConfig: await writeConfig(t, 9, 'x') });
    await assert.rejects(gone.count(), fails(/does not answer/, { retryable: true }));
  });
});

async function withToken(t: TestContext, { kubeConfig }: Cluster, token: string): Promise<string> {
  const { clusters } = JSON.parse(await readFile(kubeConfig, 'utf8'));
  const port = Number(new URL(clusters[0].cluster.server).port);
  return writeConfig(t, port, token);
}
