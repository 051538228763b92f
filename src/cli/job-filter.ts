/** The options of every command that is about many jobs. */
import type { Command } from 'commander';
import { jobStatuses } from '../core/job.ts';
import { type PlaceFlags, withPlace } from './options.ts';

export interface JobFlags extends PlaceFlags {
  readonly tenant?: string;
  readonly json?: boolean;
  readonly queue?: string;
  readonly name?: string;
  readonly key?: string;
  readonly status?: string;
  readonly fingerprint?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit: number;
  readonly after?: string;
}

/** The options that say which jobs. */
export function withFilter(command: Command): Command {
  return withPlace(command)
    .option('--tenant <tenant>', 'one tenant; by default all of them')
    .option('--queue <queue>', 'one queue')
    .option('--name <name>', 'name of the definition')
    .option('--key <key>', 'fairness and limit key')
    .option('--status <status>', jobStatuses.join(', '))
    .option('--fingerprint <fingerprint>', 'errors of one kind')
    .option('--from <time>', 'enqueued at or after, ISO 8601')
    .option('--to <time>', 'enqueued before, ISO 8601');
}

export function filterOf({ queue, name, key, status, fingerprint, from, to }: JobFlags) {
  return { queue, name, key, status, fingerprint, from, to };
}
