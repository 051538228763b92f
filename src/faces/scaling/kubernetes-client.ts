/**
 * The two calls on a Deployment's scale that we make, over the official client, which is loaded
 * when it is first needed: most users have no cluster. Its errors are told in our words.
 */
import type { MillraceError } from '../../core/errors.ts';
import { WorkerError } from '../errors.ts';

export interface ClusterOptions {
  /** A kubeconfig file; by default KUBECONFIG, ~/.kube/config, or the pod's own account. */
  readonly kubeConfig?: string | undefined;
  /** Of the kubeconfig; its current one by default. */
  readonly context?: string | undefined;
  /** Milliseconds one request may take; 10,000 by default. */
  readonly timeoutMs?: number | undefined;
}

export interface Scale {
  readonly replicas: number;
  /** Names the state that was read: a change based on an older one is refused. */
  readonly resourceVersion: string | undefined;
}

export interface ScaleClient {
  readonly namespace: string;
  /** @throws WorkerError SCALING_FAILED; `retryable` says whether another try may help. */
  read(): Promise<Scale>;
  /** Refused with 409 when the Deployment was changed since `resourceVersion`. */
  write(scale: Scale): Promise<Scale>;
}

type Package = typeof import('@kubernetes/client-node');

export async function openScaleClient(
  deployment: string,
  namespace: string | undefined,
  options: ClusterOptions,
): Promise<ScaleClient> {
  const kubernetes = await loadPackage();
  const config = readConfig(kubernetes, options);
  const place = namespace ?? namespaceOf(config);
  const api = openApi(kubernetes, config, options.timeoutMs ?? 10_000);
  const target = { name: deployment, namespace: place };
  const patch = kubernetes.setHeaderOptions('Content-Type', kubernetes.PatchStrategy.MergePatch);
  const told = (error: unknown) => inOurWords(kubernetes, error, `${place}/${deployment}`);
  return {
    namespace: place,
    async read() {
      try {
        return toScale(await api.readNamespacedDeploymentScale(target));
      } catch (error) {
        throw told(error);
      }
    },
    async write({ replicas, resourceVersion }) {
      const body = { metadata: { resourceVersion }, spec: { replicas } };
      try {
        return toScale(await api.patchNamespacedDeploymentScale({ ...target, body }, patch));
      } catch (error) {
        throw told(error);
      }
    },
  };
}

async function loadPackage(): Promise<Package> {
  try {
    return await import('@kubernetes/client-node');
  } catch (error) {
    const message = `The Kubernetes client cannot be loaded: ${reasonOf(error)}.`;
    throw new WorkerError('SCALING_FAILED', message, {
      cause: error,
      retryable: false,
      fix: 'Run npm install @kubernetes/client-node: it is optional and not installed by itself.',
    });
  }
}

function readConfig(kubernetes: Package, { kubeConfig, context }: ClusterOptions) {
  const config = new kubernetes.KubeConfig();
  try {
    if (kubeConfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeConfig);
    if (context !== undefined) config.setCurrentContext(context);
    if (config.getCurrentCluster() === null) throw new Error('it names no cluster');
  } catch (error) {
    throw new WorkerError('CONFIG_INVALID', `The kubeconfig cannot be used: ${error}.`, {
      cause: error,
      fix: 'Check the file and the context; in a pod, check its service account.',
    });
  }
  return config;
}

function namespaceOf(config: InstanceType<Package['KubeConfig']>): string {
  return config.getContextObject(config.getCurrentContext())?.namespace ?? 'default';
}

function openApi(
  kubernetes: Package,
  config: InstanceType<Package['KubeConfig']>,
  timeoutMs: number,
) {
  const { server = '' } = config.getCurrentCluster() ?? {};
  return new kubernetes.AppsV1Api(
    kubernetes.createConfiguration({
      baseServer: new kubernetes.ServerConfiguration(server, {}),
      authMethods: { default: config },
      promiseMiddleware: [
        {
          // The client has no time limit of its own.
          pre: async (request) => {
            request.setSignal(AbortSignal.timeout(timeoutMs));
            return request;
          },
          post: async (response) => response,
        },
      ],
    }),
  );
}

function toScale(answer: {
  readonly metadata?: { readonly resourceVersion?: string };
  readonly spec?: { readonly replicas?: number };
}): Scale {
  // Absent means 0: the API leaves out what is empty.
  const { replicas = 0 } = answer.spec ?? {};
  return { replicas, resourceVersion: answer.metadata?.resourceVersion };
}

/** Status → what to do about it; others speak for themselves. */
const fixes: Readonly<Record<number, string>> = {
  401: 'The account is not known to the cluster: renew its token or its certificate.',
  403: 'Give the account get and patch on deployments/scale in this namespace, by a Role.',
  404: 'Check the names of the Deployment and of its namespace.',
  409: 'It was changed meanwhile; it is read again and tried once more.',
};

function inOurWords(kubernetes: Package, error: unknown, where: string): MillraceError {
  if (!(error instanceof kubernetes.ApiException)) {
    const late = error instanceof Error && error.name === 'TimeoutError';
    const problem = late ? 'no answer in time' : reasonOf(error);
    // What fetch() throws of itself is a TypeError; the rest never reached the network.
    const retryable = late || error instanceof TypeError;
    const outcome = retryable ? 'does not answer' : 'could not be asked';
    const message = `The cluster ${outcome} (${where}): ${problem}.`;
    return new WorkerError('SCALING_FAILED', message, { cause: error, retryable });
  }
  const { code, body } = error;
  const retryable = code === 409 || code === 429 || code >= 500;
  const message = `The cluster refused (${where}) with ${code}: ${messageIn(body)}`;
  return new WorkerError('SCALING_FAILED', message, {
    cause: error,
    retryable,
    fix: fixes[code],
    details: { status: code },
  });
}

/** The Status that the API answers with; its text for codes that the client does not expect. */
function messageIn(body: unknown): string {
  try {
    const status = typeof body === 'string' ? JSON.parse(body) : body;
    if (typeof status.message === 'string') return status.message;
  } catch {
    // A proxy in between may have answered with something else.
  }
  return String(body).slice(0, 200);
}

/** fetch() says 'fetch failed'; why stands in its cause. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as { readonly cause?: unknown; readonly message?: unknown };
  return cause instanceof Error ? cause.message : String(message ?? error);
}
