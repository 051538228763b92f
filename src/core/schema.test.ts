import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { describeIssues, fieldProblems, type StandardSchemaV1, validateWith } from './schema.ts';

test('a zod schema validates, transforms and reports through the standard', () => {
  const schema = z.object({ n: z.coerce.number().default(7) });
  assert.deepEqual(validateWith(schema, { n: '3' }), { value: { n: 3 } });
  assert.deepEqual(validateWith(schema, {}), { value: { n: 7 } });
  const { issues = [] } = validateWith(schema, { n: 'x' });
  assert.equal(issues.length, 1);
});

test('any library may stand behind the schema', () => {
  const even: StandardSchemaV1<unknown, number> = {
    '~standard': {
      version: 1,
      vendor: 'ours',
      validate: (value) =>
        typeof value === 'number' && value % 2 === 0
          ? { value }
          : { issues: [{ message: 'is odd', path: [{ key: 'a' }, 0, Symbol('s')] }] },
    },
  };
  assert.deepEqual(validateWith(even, 4), { value: 4 });
  const { issues = [] } = validateWith(even, 3);
  assert.equal(describeIssues(issues, 'payload'), 'payload.a[0]["Symbol(s)"]: is odd');
});

test('an asynchronous schema is refused, and its rejection does not end the process', async (t) => {
  const message = 'The zod schema validates asynchronously, or a check in it throws.';
  const slow = z.string().refine(async () => true);
  assert.throws(() => validateWith(slow, 'x'), { code: 'DEFINITION_INVALID', message });
  const throwing = z.string().refine(() => {
    throw new Error('bug');
  });
  const unhandled = t.mock.fn();
  process.on('unhandledRejection', unhandled);
  assert.throws(() => validateWith(throwing, 'x'), { code: 'DEFINITION_INVALID', message });
  await setImmediate();
  process.off('unhandledRejection', unhandled);
  assert.equal(unhandled.mock.callCount(), 0);
});

test('issues are shown with their paths, ten of them at most', () => {
  const issues = Array.from({ length: 12 }, (_, i) => ({ message: 'bad', path: ['items', i] }));
  const text = describeIssues(issues, 'payload');
  assert.ok(text.startsWith('payload.items[0]: bad; payload.items[1]: bad; '));
  assert.ok(text.endsWith('payload.items[9]: bad; and 2 more'));
  assert.deepEqual(fieldProblems([{ message: 'bad' }], 'payload'), [
    { path: 'payload', message: 'bad' },
  ]);
});
