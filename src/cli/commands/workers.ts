/** `millrace workers list`: which processes work on jobs, and how busy they are. */
import type { Command } from 'commander';
import type { WorkerInfo } from '../../ports/jobs.ts';
import { line, printJson } from '../io.ts';
import { type Cli, type PlaceFlags, withPlace } from '../options.ts';
import { table } from '../table.ts';
import { withApi } from '../with-api.ts';

interface WorkerFlags extends PlaceFlags {
  readonly json?: boolean;
}

export function addWorkers(program: Command, cli: Cli): void {
  const workers = program.command('workers').description('processes that work on jobs');
  withPlace(workers.command('list'))
    .description('every worker that was not declared dead, the newest first')
    .action((flags: WorkerFlags) => list(flags, cli));
}

async function list(flags: WorkerFlags, { io }: Cli): Promise<void> {
  await withApi(flags, async (api) => {
    const { items } = await api.get<{ items: WorkerInfo[] }>('/ops/workers');
    if (flags.json) return printJson(io, { items });
    if (items.length === 0) return line(io.stdout, 'No process works on jobs.');
    line(
      io.stdout,
      table(
        ['epoch', 'state', 'host', 'pid', 'running', 'of', 'queues', 'heartbeat', 'started'],
        items.map((worker) => [
          worker.epoch,
          worker.alive ? 'alive' : 'silent',
          worker.host,
          String(worker.pid),
          worker.running,
          worker.concurrency,
          worker.queues.join(', '),
          worker.heartbeatAt,
          worker.startedAt,
        ]),
      ),
    );
  });
}
