/** The schema: schema.sql is its end state, and row-level security has no hole in it. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, it } from 'node:test';
import { dumpSchema, schemaFile } from '../../../scripts/dump-schema.ts';
import { eachPostgres, type TestDatabase } from '../../../test/support/database.ts';
import { ask } from '../../../test/support/mill.ts';
import { claimed, failure, settlement } from '../../ports/fixtures.conformance.ts';
import type { SqlTransaction, Store } from '../../ports/store.ts';
import { migrations } from './migrations.ts';
import { openPostgresStore } from './store.ts';

eachPostgres('the schema', (server) => {
  let database: TestDatabase;
  let store: Store;
  before(async () => {
    database = await server.fresh();
    store = await openPostgresStore({ url: database.url });
    for (const tenant of ['a', 'b']) await fill(store, tenant);
  });
  after(async () => {
    await store.close();
    await database.drop();
  });
  const rows = <Row>(text: string) => ask<Row>(database.url, text);

  it('is what schema.sql says', async () => {
    const { url } = database;
    assert.equal(await dumpSchema(url), await readFile(schemaFile, 'utf8'), 'npm run generate');
  });

  it('migrates once, and notices a migration that was edited', async () => {
    assert.deepEqual(await store.migrate('millrace', migrations), []);
    const edited = migrations.map(({ name, sql }) => ({ name, sql: `${sql}\n-- edited` }));
    await assert.rejects(store.migrate('millrace', edited), { code: 'MIGRATION_FAILED' });
    const broken = [{ name: '0001_broken', sql: 'create table t (id int); select 1 / 0' }];
    await assert.rejects(store.migrate('elsewhere', broken), { code: 'MIGRATION_FAILED' });
    assert.deepEqual(await rows(`select 1 from pg_class where relname = 't'`), []);
  });

  it('forces row-level security on every table, each with a policy', async () => {
    const bare = await rows(`
      select c.oid::regclass::text as name from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname like 'millrace%' and c.relkind in ('r', 'p') and not (
        c.relrowsecurity and c.relforcerowsecurity
        and exists (select 1 from pg_policy p where p.polrelid = c.oid))`);
    assert.deepEqual(bare, []);
  });

  it('lets views and functions look through the eyes of their caller', async () => {
    const views = await rows(`select relname from pg_class
      where relnamespace = 'millrace'::regnamespace and relkind in ('v', 'm')
        and not coalesce(reloptions @> '{security_invoker=true}', false)`);
    assert.deepEqual(views, []);
    const definers = await rows(`select proname from pg_proc
      where pronamespace = 'millrace'::regnamespace and prosecdef
        and not coalesce(proconfig::text like '%search_path%', false)`);
    assert.deepEqual(definers, [], 'a security definer has its search_path fixed');
    const everyone = await rows(`select proname from pg_proc
      where pronamespace = 'millrace'::regnamespace
        and has_function_privilege('public', oid, 'execute')`);
    assert.deepEqual(everyone, []);
  });

  it('gives the roles nothing that goes around it', async () => {
    const strong = await rows(`select rolname from pg_roles where rolname like 'millrace%'
      and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolcanlogin)`);
    assert.deepEqual(strong, []);
    const owned = await rows(`select c.relname from pg_class c
      where pg_get_userbyid(c.relowner) in ('millrace_app', 'millrace_worker')
        and c.relpersistence <> 't'`);
    assert.deepEqual(owned, []);
    const members = await rows(`select 1 from pg_auth_members m
      where m.member in ('millrace_app'::regrole, 'millrace_worker'::regrole)
        and m.roleid = 'millrace_owner'::regrole`);
    assert.deepEqual(members, []);
  });

  const relations = ['event', 'event_failure', 'event_processing', 'dead_letter_events'];

  it('shows a tenant its own rows only, through tables and views', async () => {
    for (const tenant of ['a', 'b']) {
      await store.withTenant(tenant, async (tx) => {
        for (const relation of relations) {
          const found = await tenantsIn(tx, relation);
          assert.deepEqual(found, [tenant], `${relation} as tenant ${tenant}`);
        }
      });
    }
  });

  it('shows nothing without a tenant', async () => {
    for (const tenant of ['', 'nobody']) {
      await store.withTenant(tenant, async (tx) => {
        for (const relation of relations) assert.deepEqual(await tenantsIn(tx, relation), []);
      });
    }
    await store.withTenant('a', async (tx) => {
      await tx.query('reset millrace.tenant');
      for (const relation of relations) assert.deepEqual(await tenantsIn(tx, relation), []);
    });
  });

  it('refuses every change of the log to the application and to the workers', async () => {
    const changes = [
      `update millrace.event set payload = 'null'`,
      'delete from millrace.event',
      'truncate millrace.event',
      'drop table millrace.event',
      'alter table millrace.event disable row level security',
    ];
    const others = [
      `insert into millrace.event select * from millrace.event`,
      'delete from millrace.event_failure',
      'select * from millrace.staged_event',
      'select * from millrace.lease',
      `select millrace.settle_cursor('g', 0, 1, 1, 1, null)`,
    ];
    const refused = (change: string, work: Promise<unknown>) =>
      assert.rejects(work, { code: '42501' }, change);
    for (const change of [...changes, ...others]) {
      await refused(
        change,
        store.withTenant('a', (tx) => tx.query(change)),
      );
    }
    for (const change of changes) {
      await refused(change, ask(database.url, `begin; set local role millrace_worker; ${change}`));
    }
  });
});

async function tenantsIn(tx: SqlTransaction, relation: string): Promise<string[]> {
  const found = await tx.query<{ tenant_id: string }>(
    `select distinct tenant_id from millrace.${relation} order by 1`,
  );
  return found.map((row) => row.tenant_id);
}

/** One event of each kind of trouble. */
async function fill(store: Store, tenant: string): Promise<void> {
  const group = `group-${tenant}`;
  const context = { store, tenant, group, another: async () => store, t: {} as never };
  const { at, events } = await claimed(context, { count: 3 });
  const failures = events.map((event, i) => failure(event, i === 0 ? 'dead' : 'parked'));
  await store.streams.settle(settlement(at, { seq: 1, position: 3, failures }));
}
