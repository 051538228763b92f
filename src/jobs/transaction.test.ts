import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import { asSqlTransaction, type CallerTransaction, toQuestionMarks } from './transaction.ts';

describe('parameters by question mark', () => {
  const of = (text: string, ...values: unknown[]) => toQuestionMarks(text, values);

  it('stand in the order of the text', () => {
    assert.deepEqual(of('select $2::int, $1, $2', 'a', 7), {
      sql: 'select ?::int, ?, ?',
      bindings: [7, 'a', 7],
    });
    assert.deepEqual(of('select $10', ...Array.from({ length: 10 }, (_, i) => i)).bindings, [9]);
    assert.deepEqual(of('select $2', 1), { sql: 'select ?', bindings: [null] });
  });

  it('are not looked for in quotes and comments, and a ? of SQL stays one', () => {
    for (const text of [
      `select '$1', 'it''s $1', "a $1 ""b"" $1"`,
      'select $$ $1 $$, $body$ $1 $$ $1 $body$',
      'select 1 -- $1\n',
      'select /* $1\n $1 */ 1',
    ]) {
      assert.deepEqual(of(`${text}, $1`, 'x'), { sql: `${text}, ?`, bindings: ['x'] });
    }
    const { sql, bindings } = of(`select doc ? 'a?' and doc ?| $1 -- why?`, ['b']);
    assert.equal(sql, `select doc \\? 'a\\?' and doc \\?| ? -- why\\?`);
    assert.deepEqual(bindings, [['b']]);
  });
});

/** One call each; what the libraries really do is in transaction.int.test.ts. */
describe('a transaction of the caller', () => {
  const recorded: unknown[] = [];
  const query = async (text: string, values: unknown[]) => {
    recorded.push(text, values);
    return { rows: [{ n: 1 }] };
  };

  it('may answer with rows or with a result that has them', async () => {
    const answers: readonly [unknown, unknown[]][] = [
      [{ rows: [{ n: 1 }] }, [{ n: 1 }]],
      [[{ n: 1 }], [{ n: 1 }]],
      [undefined, []],
      [{ affected: 3 }, []],
    ];
    for (const [answer, rows] of answers) {
      const tx = asSqlTransaction({ query: async () => answer });
      assert.deepEqual(await tx.query('select 1'), rows);
    }
    const tx = asSqlTransaction(asSqlTransaction({ query }));
    assert.deepEqual(await tx.query('select $1', [undefined]), [{ n: 1 }]);
    assert.deepEqual(recorded, ['select $1', [null]]);
  });

  it('is refused when it is none, saying what to give', () => {
    const cases: readonly [unknown, RegExp][] = [
      [undefined, /tx is undefined, not a transaction/],
      ['begin', /tx is a string, not a transaction/],
      [{}, /tx is an object that we cannot run statements with/],
      [{ query, idleCount: 0, totalCount: 1 }, /tx is a pool of pg/],
      [{ isTransaction: false, withoutPlugins: () => {} }, /is a Kysely outside of a transaction/],
      [{ raw: query }, /is a Knex outside of a transaction/],
      [{ _: { session: {} }, execute: query }, /is a Drizzle database outside of a transaction/],
      [{ $queryRawUnsafe: query, $connect: query }, /is a Prisma client outside of a transaction/],
    ];
    for (const [tx, expected] of cases) {
      assert.throws(
        () => asSqlTransaction(tx as CallerTransaction),
        (error) =>
          error instanceof MillraceError &&
          error.code === 'CONFIG_INVALID' &&
          expected.test(error.message) &&
          /^(Give|Take) /.test(error.fix),
      );
    }
  });

  it('leaves out the statement that Knex writes before the message', async () => {
    const message = `select $1, $2, '?' - no - such table`;
    const error = Object.assign(new Error(message), { code: '42P01' });
    const tx = asSqlTransaction({ raw: () => Promise.reject(error), isCompleted: () => false });
    const failed = tx.query(`select $2, $2, '?'`, [1, 2]);
    await assert.rejects(failed, { code: '42P01', message: 'no - such table' });
  });

  it('fails with the error of the server, however it is wrapped', async () => {
    const failing = (error: unknown) =>
      asSqlTransaction({ query: () => Promise.reject(error) }).query('select 1');
    const server = Object.assign(new Error('no such table'), { code: '42P01', detail: 'd' });
    const prisma = (meta: object) =>
      Object.assign(new Error('Invalid `prisma.$queryRawUnsafe()` invocation'), {
        code: 'P2010',
        meta,
      });
    const cause = { kind: 'postgres', code: '42P01', message: 'no such table', detail: 'd' };
    const wrapped = [
      server,
      new Error('Failed query: select 1', { cause: server }),
      prisma({ driverAdapterError: Object.assign(new Error('adapter'), { cause }) }),
    ];
    for (const error of wrapped) {
      await assert.rejects(failing(error), {
        code: '42P01',
        message: 'no such table',
        detail: 'd',
      });
    }
    const engine = prisma({ code: '42P01', message: 'no such table' });
    await assert.rejects(failing(engine), { code: '42P01', message: 'no such table' });
    const raised = Object.assign(new Error('by hand'), { code: 'P0001' });
    for (const error of [raised, new Error('other'), prisma({}), 'text']) {
      await assert.rejects(failing(error), (thrown) => thrown === error);
    }
  });
});
