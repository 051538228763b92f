/**
 * The server under test: the embedded Postgres in a directory of its own, with every durability
 * setting on, and readings of what a stretch of work cost.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from 'millrace/embedded';
import pg from 'pg';

export interface BenchServer extends AsyncDisposable {
  readonly url: string;
  /** For questions about the run, beside it. */
  readonly client: pg.Client;
  read(): Promise<Reading>;
}

export interface Reading {
  readonly atMs: number;
  readonly walBytes: number;
  /** CPU seconds of this process. */
  readonly nodeCpu: number;
  /** CPU seconds of all server processes alive; null where there is no /proc. */
  readonly serverCpu: number | null;
}

export interface Cost {
  readonly seconds: number;
  readonly walBytes: number;
  readonly nodeCpu: number;
  readonly serverCpu: number | null;
}

/** Memory and distance of checkpoints of a server that has work to do; durability as it comes. */
const serverSettings = { shared_buffers: '1GB', max_wal_size: '8GB' };

export async function startBenchServer(): Promise<BenchServer> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const server = await startEmbeddedPostgres({ directory, settings: serverSettings });
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await assertDurable(client);
  return {
    url: server.url,
    client,
    async read() {
      const { rows } = await client.query(
        `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as bytes`,
      );
      const { user, system } = process.cpuUsage();
      return {
        atMs: performance.now(),
        walBytes: rows[0].bytes,
        nodeCpu: (user + system) / 1e6,
        serverCpu: cpuOfChildren(server.pid),
      };
    },
    async [Symbol.asyncDispose]() {
      await client.end();
      await server.stop('immediate');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export function cost(from: Reading, to: Reading): Cost {
  return {
    seconds: (to.atMs - from.atMs) / 1000,
    walBytes: to.walBytes - from.walBytes,
    nodeCpu: to.nodeCpu - from.nodeCpu,
    serverCpu:
      from.serverCpu === null || to.serverCpu === null ? null : to.serverCpu - from.serverCpu,
  };
}

/** A figure bought with durability switched off is no figure. */
async function assertDurable(client: pg.Client): Promise<void> {
  for (const setting of ['fsync', 'synchronous_commit', 'full_page_writes']) {
    const { rows } = await client.query(`show ${setting}`);
    if (rows[0][setting] !== 'on') throw new Error(`${setting} is ${rows[0][setting]}, not on`);
  }
}

/** utime and stime of each child of the postmaster, in seconds (clock ticks are 1/100 s). */
function cpuOfChildren(postmaster: number): number | null {
  try {
    let ticks = 0;
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const stat = readStat(name);
      if (stat?.[1] === String(postmaster)) ticks += Number(stat[11]) + Number(stat[12]);
    }
    return ticks / 100;
  } catch {
    return null;
  }
}

/** Fields of /proc/PID/stat after the command's name: state, parent, … */
function readStat(pid: string): string[] | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
  } catch {
    return null; // it has ended
  }
}
