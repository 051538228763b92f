/** What is published of the fields: the JSON Schema for editors and the table in the docs. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { seededRandom } from '../../../test/support/random.ts';
import { checkTemplate } from './compile-template.ts';
import type { Field } from './template-field.ts';
import { templateField } from './template-fields.ts';
import { printTemplateSchema, replaceFieldTable } from './template-schema.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const manual = read('docs/templates.md');
const example = /```yaml\n([\s\S]*?)```/.exec(manual)?.[1] ?? '';

test('the published schema is the one of the code', () => {
  assert.equal(read('docs/schemas/task-template.schema.json'), printTemplateSchema());
});

test('the table in docs/templates.md is the one of the code', () => {
  assert.equal(replaceFieldTable(manual), manual);
  assert.throws(() => replaceFieldTable('no marks'), /has lost its mark/);
});

test('the package publishes it', () => {
  const { exports, files } = JSON.parse(read('package.json'));
  assert.equal(exports['./task-template.schema.json'], './docs/schemas/task-template.schema.json');
  assert.ok(files.includes('docs/schemas'));
});

describe('the schema', () => {
  const validate = new Ajv({ strict: true, allErrors: true }).compile(
    JSON.parse(printTemplateSchema()),
  );
  const faults = (value: unknown) => {
    validate(value);
    return (validate.errors ?? []).map((e) => `${e.instancePath} ${e.message}`);
  };

  test('takes the example of the docs, which has every field there is', () => {
    const value = parse(example, { merge: true }) as unknown;
    assert.deepEqual(faults(value), []);
    const missing: string[] = [];
    const look = (field: Field, values: readonly unknown[], path: string) => {
      const given = values.filter((one) => one !== undefined);
      if (given.length === 0) missing.push(path);
      if (field.kind === 'list') look(field.item, given.flat(), `${path}[]`);
      if (field.kind === 'map')
        look(
          field.value,
          given.flatMap((v) => Object.values(v as object)),
          path,
        );
      if (field.kind !== 'object') return;
      for (const [name, one] of Object.entries(field.fields)) {
        // Of a handler that undoes a step, and of overrides, the example shows one field.
        if (/compensate|environments/.test(path) && name !== 'callable') continue;
        const members = given.flatMap((v) => {
          const object = v as Record<string, unknown>;
          return object[name] ?? (one.alias === undefined ? undefined : object[one.alias]);
        });
        look(one, members, `${path}.${name}`);
      }
    };
    look(templateField, [value], '');
    assert.deepEqual(missing, ['.rate.scope']);
  });

  test('refuses nothing that the checker takes', (t) => {
    const random = seededRandom(t);
    const pieces = [5, -1, 0.5, 'x', 'a.b', '', true, [], {}, ['x'], [{}], { name: 'x' }, 1e9];
    let [refused, taken] = [0, 0];
    const whole = parse(example, { merge: true }) as Record<string, unknown>;
    for (let round = 0; round < 3_000; round += 1) {
      const value = structuredClone(whole);
      for (let changes = 1 + random.below(2); changes > 0; changes -= 1) {
        let here: Record<string, unknown> = value;
        for (;;) {
          const names = Object.keys(here);
          const name = names.length > 0 && random.chance(0.9) ? random.pick(names) : 'surprise';
          const next = here[name];
          if (typeof next === 'object' && next !== null && random.chance(0.8)) {
            here = next as Record<string, unknown>;
            continue;
          }
          if (random.chance(0.3)) delete here[name];
          else here[name] = structuredClone(random.pick<unknown>(pieces));
          break;
        }
      }
      // A hole in a list is null for both.
      const plain = JSON.parse(JSON.stringify(value)) as unknown;
      const { template } = checkTemplate(plain);
      if (template === null) continue;
      taken += 1;
      assert.deepEqual(faults(plain), [], JSON.stringify(plain));
    }
    for (const wrong of [{ nam: 'x' }, { priority: 0.5 }, { identity: 'strikt' }, { rate: {} }]) {
      refused += faults({
        name: 'a',
        steps: [{ name: 's', handler: { callable: 'c' } }],
        ...wrong,
      }).length;
    }
    assert.ok(taken > 300, `${taken} were taken`);
    assert.equal(refused, 4);
  });
});
