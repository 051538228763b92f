/**
 * The embedded server as a whole: start, stop, crash, and what may be wrong with its directory.
 * Who owns it when processes die or race is in lifetime.int.test.ts.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as path from 'node:path';
import { describe, it } from 'node:test';
import pg from 'pg';
import { freePort } from '../../../../test/support/ports.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './launcher.ts';
import { assertRejectsWith, query, start, temporaryDirectory } from './test-server.ts';

describe('a fresh directory', () => {
  it('becomes a database that node-pg reaches through the URL, durable and in UTC', async (t) => {
    const server = await start(path.join(await temporaryDirectory(t), 'not', 'there', 'yet'));
    const [row] = await query(
      server.url,
      `select current_setting('server_version_num')::int / 10000 as major,
              current_setting('fsync') || current_setting('synchronous_commit') as durable,
              current_setting('listen_addresses') as tcp, current_setting('TimeZone') as zone,
              current_setting('max_wal_size') as wal, current_setting('server_encoding') as enc`,
    );
    const expected = { major: 18, durable: 'onon', tcp: '', zone: 'UTC', wal: '2GB', enc: 'UTF8' };
    assert.deepEqual(row, expected);
    assert.equal(server.tcpUrl, null);
  });

  it('keeps rows over stop and start, and is free after stop', async (t) => {
    const directory = await temporaryDirectory(t);
    const first = await start(directory);
    await query(first.url, 'create table kept as select 41 as n');
    await Promise.all([first.stop(), first.stop()]); // stopping twice is one stop
    assert.deepEqual(await first.exited, { code: 0, signal: null });
    assert.deepEqual((await fs.readdir(directory)).sort(), ['data', 'postgres.log', 'run']);
    const second = await start(directory);
    assert.deepEqual(await query(second.url, 'select n from kept'), [{ n: 41 }]);
  });

  it('takes settings from the caller over its own', async (t) => {
    const server = await start(await temporaryDirectory(t), {
      settings: { Max_Connections: '17', 'millrace.note': `it's, "quoted"` },
    });
    const [row] = await query(
      server.url,
      `select current_setting('max_connections') as connections,
              current_setting('millrace.note') as note`,
    );
    assert.deepEqual(row, { connections: '17', note: `it's, "quoted"` });
  });

  it('is disposed of by `await using`', async (t) => {
    const directory = await temporaryDirectory(t);
    let exited: EmbeddedPostgres['exited'];
    {
      await using server = await start(directory);
      exited = server.exited;
    }
    assert.equal((await exited).code, 0);
  });
});

describe('a port', () => {
  it('listens on 127.0.0.1 and wants the password there', async (t) => {
    const port = await freePort();
    const server = await start(await temporaryDirectory(t), { port });
    assert.deepEqual(await query(server.tcpUrl ?? '', 'select 1 as n'), [{ n: 1 }]);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
    const wrong = new pg.Client(`postgresql://postgres:wrong@127.0.0.1:${port}/postgres`);
    await assert.rejects(wrong.connect(), { code: '28P01' });
  });

  it('that is taken is reported with the log of the server', async (t) => {
    const taken = net.createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    t.after(() => taken.close());
    const { port } = taken.address() as net.AddressInfo;
    const failing = startEmbeddedPostgres({ directory: await temporaryDirectory(t), port });
    const error = await assertRejectsWith(failing, 'EMBEDDED_START_FAILED', /already in use/);
    assert.match(error.fix, /another port/);
  });
});

describe('paths', () => {
  it('with spaces, commas, quotes and letters beyond ASCII work', async (t) => {
    const directory = path.join(await temporaryDirectory(t), `a "b", c'd é%20`);
    const server = await start(directory);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
  });

  it('too long for a socket put it under the temporary directory, and remove it', async (t) => {
    const directory = path.join(await temporaryDirectory(t), 'long'.repeat(25));
    const server = await start(directory);
    const socketDirectory = new URL(server.url.replace('@/', '@x/')).searchParams.get('host') ?? '';
    assert.ok(!socketDirectory.startsWith(directory));
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
    await server.stop();
    await assert.rejects(fs.stat(socketDirectory), { code: 'ENOENT' });
  });
});

describe('after SIGKILL of the server', () => {
  it('every acknowledged row is there, at once', async (t) => {
    const directory = await temporaryDirectory(t);
    const first = await start(directory);
    await query(first.url, 'create table kept (n int primary key)');
    let acknowledged = 0;
    const writer = new pg.Client(first.url);
    writer.on('error', () => undefined); // the server goes while it is connected
    await writer.connect();
    const writing = (async () => {
      for (;;) {
        await writer.query('insert into kept values ($1)', [acknowledged + 1]);
        acknowledged += 1;
        if (acknowledged === 200) void first.kill();
      }
    })();
    await assert.rejects(writing);
    await first.exited;
    const second = await start(directory);
    const [row] = await query(second.url, 'select count(*)::int as n from kept');
    // One insert may have been committed without its answer arriving.
    assert.ok([acknowledged, acknowledged + 1].includes(Number(row?.n)));
  });

  it('lock files whose pid is another process by now do not matter', async (t) => {
    const directory = await temporaryDirectory(t);
    const first = await start(directory);
    await first.kill();
    for (const name of ['data/postmaster.pid', 'run/.s.PGSQL.5432.lock']) {
      const file = path.join(directory, name);
      const text = await fs.readFile(file, 'utf8');
      await fs.writeFile(file, text.replace(/^\d+/, String(process.ppid)));
    }
    const second = await start(directory);
    assert.deepEqual(await query(second.url, 'select 1 as n'), [{ n: 1 }]);
  });
});

describe('a directory that cannot be used', () => {
  const refused = async (directory: string, message: RegExp) => {
    const error = await assertRejectsWith(
      startEmbeddedPostgres({ directory }),
      'EMBEDDED_DIRECTORY',
      message,
    );
    assert.match(error.message, new RegExp(path.basename(directory)));
    assert.ok(error.fix.length > 20);
  };

  it('with something else in it is left as it is', async (t) => {
    const directory = await temporaryDirectory(t);
    await fs.writeFile(path.join(directory, 'thesis.doc'), 'years of work');
    await refused(directory, /not empty and not made by Millrace .*'thesis\.doc'/);
    assert.deepEqual(await fs.readdir(directory), ['thesis.doc']);
  });

  it('with a bare cluster of somebody else is refused', async (t) => {
    const directory = await temporaryDirectory(t);
    await fs.writeFile(path.join(directory, 'PG_VERSION'), '15\n');
    await refused(directory, /is data of a Postgres 15 that Millrace did not make/);
  });

  it('with data of another major version names both', async (t) => {
    const directory = await temporaryDirectory(t);
    await fs.mkdir(path.join(directory, 'data'));
    await fs.writeFile(path.join(directory, 'data', 'PG_VERSION'), '17\n');
    await refused(directory, /of Postgres 17, the embedded server is Postgres 18/);
  });

  it('with a `data` that is no cluster is refused', async (t) => {
    const directory = await temporaryDirectory(t);
    await fs.mkdir(path.join(directory, 'data'));
    await refused(directory, /'data' in it that is no Postgres data/);
  });

  it('that is a file is refused', async (t) => {
    const file = path.join(await temporaryDirectory(t), 'file');
    await fs.writeFile(file, '');
    await refused(file, /cannot be used/);
  });
});

describe('a start that fails', () => {
  it('says why in the words of the server, and leaves the directory free', async (t) => {
    const directory = await temporaryDirectory(t);
    const failing = startEmbeddedPostgres({ directory, settings: { work_mem: 'plenty' } });
    const error = await assertRejectsWith(
      failing,
      'EMBEDDED_START_FAILED',
      /invalid value for parameter "work_mem": "plenty"/,
    );
    assert.match(error.fix, /settings/);
    const server = await start(directory);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
  });

  it('is not tried with a port that is none', async (t) => {
    const directory = await temporaryDirectory(t);
    await assertRejectsWith(
      startEmbeddedPostgres({ directory, port: 70_000 }),
      'CONFIG_INVALID',
      /port 70000/,
    );
  });
});
