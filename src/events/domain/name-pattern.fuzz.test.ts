/** Patterns against a plain statement of what they mean, and against the filter of the log. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { seededRandom } from '../../../test/support/random.ts';
import { createTypeSet } from '../../core/event-pattern.ts';
import { logTypeOf, NamePattern } from './name-pattern.ts';

const segments = ['a', 'b', 'ab', 'a_b', '1'];

/** Spelt out: a last * is one segment or more, any other * exactly one. */
function means(pattern: readonly string[], name: readonly string[]): boolean {
  const [wanted, ...rest] = pattern;
  if (wanted === undefined) return name.length === 0;
  if (name.length === 0) return false;
  if (wanted === '*' && rest.length === 0) return true;
  return (wanted === '*' || wanted === name[0]) && means(rest, name.slice(1));
}

it('a pattern matches what it says, and the log lets all of it pass', (t) => {
  const random = seededRandom(t);
  let matched = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const word = () => random.pick(segments);
    const name = Array.from({ length: 2 + random.below(3) }, word);
    const parts = Array.from({ length: 1 + random.below(4) }, () =>
      random.chance(0.4) ? '*' : word(),
    );
    const text = parts.join('.');
    if (parts.length === 1 && text !== '*') {
      assert.throws(() => new NamePattern(text), { code: 'DEFINITION_INVALID' });
      continue;
    }
    const pattern = new NamePattern(text);
    const wanted = means(parts, name);
    assert.equal(pattern.matches(name.join('.')), wanted, `${text} on ${name.join('.')}`);
    if (!wanted) continue;
    matched += 1;
    const namespace = random.pick(['shop', 'shop.eu', 'a']);
    const type = logTypeOf(namespace, name.join('.'));
    for (const space of [namespace, null]) {
      assert.ok(createTypeSet([pattern.logType(space)]).has(type), `${text} lets ${type} pass`);
    }
  }
  assert.ok(matched > 1_000, `${matched} matched`);
});

it('whatever else is no pattern', (t) => {
  const random = seededRandom(t);
  const signs = [...'ab.*_-A \u0000%$🗝'];
  for (let round = 0; round < 5_000; round += 1) {
    const text = Array.from({ length: random.below(8) }, () => random.pick(signs)).join('');
    const good = text === '*' || /^(\*|[a-z0-9_]+)(\.(\*|[a-z0-9_]+))+$/.test(text);
    if (good) assert.equal(new NamePattern(text).text, text);
    else assert.throws(() => new NamePattern(text), { code: 'DEFINITION_INVALID' });
  }
});
