/**
 * Workers as the replicas of a Kubernetes Deployment. The cluster starts, ends and replaces them;
 * we read and patch the number in its scale. What somebody else sets between two looks stands
 * until the next decision; what changes between our read and our write is read again.
 */
import { sleep } from '../../runtime/bell.ts';
import { WorkerError } from '../errors.ts';
import { type ClusterOptions, openScaleClient, type ScaleClient } from './kubernetes-client.ts';
import type { WorkerProvider } from './worker-provider.ts';

export interface KubernetesReplicasOptions extends ClusterOptions {
  /** Name of the Deployment whose pods are the workers. */
  readonly deployment: string;
  /** That of the kubeconfig's context by default, in a pod its own. */
  readonly namespace?: string | undefined;
}

const triesMax = 5;
const retryMs = 100;

export class KubernetesReplicas implements WorkerProvider {
  readonly #options: KubernetesReplicasOptions;
  #opening: Promise<ScaleClient> | null = null;
  readonly #closed = new AbortController();

  /** Nothing is asked of the cluster yet. @throws WorkerError CONFIG_INVALID */
  constructor(options: KubernetesReplicasOptions) {
    if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(options.deployment ?? '')) {
      const message = `'${options.deployment}' is not the name of a Deployment.`;
      throw new WorkerError('CONFIG_INVALID', message);
    }
    this.#options = options;
  }

  async count(): Promise<number> {
    const client = await this.#open();
    const { replicas } = await this.#persist(() => client.read());
    return replicas;
  }

  async scaleTo(count: number): Promise<void> {
    const client = await this.#open();
    await this.#persist(async () => {
      const { replicas, resourceVersion } = await client.read();
      if (replicas !== count) await client.write({ replicas: count, resourceVersion });
    });
  }

  /** The replicas stay as they are: they live longer than this process. */
  async close(): Promise<void> {
    this.#closed.abort();
  }

  async #open(): Promise<ScaleClient> {
    const { deployment, namespace } = this.#options;
    this.#opening ??= openScaleClient(deployment, namespace, this.#options);
    try {
      return await this.#opening;
    } catch (error) {
      this.#opening = null; // a kubeconfig can be mended meanwhile
      throw error;
    }
  }

  /** Again after conflicts, and while the cluster is away for a moment. */
  async #persist<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await work();
      } catch (error) {
        const hopeless = !(error instanceof WorkerError) || !error.retryable;
        if (hopeless || tries >= triesMax || this.#closed.signal.aborted) throw error;
        await sleep(retryMs * 2 ** (tries - 1) * (0.5 + Math.random()), this.#closed.signal);
      }
    }
  }
}
