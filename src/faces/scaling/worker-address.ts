/** Where a worker is asked: `host:port`, or a URL with a path before it. Checked when given. */
import { WorkerError } from '../errors.ts';

export interface WorkerEndpoint {
  /** `worker-1:3001`, `http://10.0.0.7:3001` or `https://workers.example/eu`. */
  readonly address: string;
  /** Share of the work beside other workers; 1 by default. */
  readonly weight?: number | undefined;
}

export interface Worker {
  /** As it was given: what getNextWorker answers with. */
  readonly address: string;
  readonly weight: number;
  /** Without a slash at its end. */
  readonly baseUrl: string;
}

const weightMax = 1_000;

/** @throws WorkerError CONFIG_INVALID */
export function parseWorker(given: string | WorkerEndpoint): Worker {
  const { address, weight = 1 } = typeof given === 'string' ? { address: given } : (given ?? {});
  if (typeof address !== 'string' || address.trim() === '') {
    throw invalid(`A worker's address is ${JSON.stringify(address) ?? 'missing'}.`);
  }
  if (!Number.isInteger(weight) || weight < 1 || weight > weightMax) {
    throw invalid(`The weight of ${address} is ${weight}, not a whole number up to ${weightMax}.`);
  }
  const url = URL.parse(/^https?:\/\//.test(address) ? address : `http://${address}`);
  if (url === null || url.hostname === '' || url.search !== '' || url.hash !== '') {
    throw invalid(`'${address}' is not the address of a worker.`);
  }
  return { address, weight, baseUrl: url.href.replace(/\/+$/, '') };
}

function invalid(message: string): WorkerError {
  return new WorkerError('CONFIG_INVALID', message, {
    fix: "Give workers like 'worker-1:3001', or { address: 'worker-1:3001', weight: 2 }.",
  });
}
