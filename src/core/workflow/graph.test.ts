/** The compiled graph: numbers, order, what is created when, and every way to be refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compileGraph, type GraphStep, type TemplateGraph } from './graph.ts';

type Short = readonly [name: string, after?: string, more?: Partial<GraphStep>];

const step = ([name, after = '', more = {}]: Short): GraphStep => ({
  name,
  type: 'standard',
  dependencies: after === '' ? [] : after.split(' '),
  workerTemplate: null,
  ...more,
});

function compile(...steps: Short[]): TemplateGraph {
  const { graph, problems } = compileGraph(steps.map(step));
  assert.deepEqual(problems, []);
  return graph as TemplateGraph;
}

/** `path: message [hint]` of each problem. */
function refuse(...steps: Short[]): string[] {
  const { graph, problems } = compileGraph(steps.map(step));
  assert.equal(graph, null);
  return problems.map(({ path, message, hint }) => `${path.join('.')}: ${message} [${hint}]`);
}

const names = (graph: TemplateGraph, numbers: readonly number[]) =>
  numbers.map((no) => graph.nodes[no]?.name).join(' ');

const decision = { type: 'decision' } as const;
const convergence = { type: 'deferred_convergence' } as const;
const worker = { type: 'batch_worker' } as const;
const batchable = (workerTemplate: string) => ({ type: 'batchable', workerTemplate }) as const;

describe('a graph', () => {
  test('orders a diamond, counts what waits, and knows who waits', () => {
    const graph = compile(['end', 'left right'], ['right', 'start'], ['left', 'start'], ['start']);
    assert.equal(names(graph, graph.order), 'start right left end');
    assert.equal(graph.depth, 3);
    const [end, right, left, start] = graph.nodes;
    assert.deepEqual(start?.dependents, [1, 2]);
    assert.deepEqual([start?.inDegree, left?.inDegree, end?.inDegree], [0, 1, 2]);
    assert.deepEqual([start?.depth, right?.depth, end?.depth], [1, 2, 3]);
    assert.deepEqual(end?.dependsOn, [2, 1]);
    assert.equal(graph.find('left'), left);
    assert.equal(graph.find('lost'), undefined);
  });

  test('is frozen to the bottom', () => {
    const graph = compile(['a'], ['b', 'a']);
    for (const part of [graph, graph.nodes, graph.order, graph.initial, ...graph.nodes]) {
      assert.ok(Object.isFrozen(part));
    }
    assert.ok(Object.isFrozen(graph.nodes[1]?.dependsOn));
    assert.ok(Object.isFrozen(graph.nodes[1]?.settledBy));
  });

  test('creates at start what nothing conditional leads to', () => {
    const graph = compile(
      ['validate'],
      ['route', 'validate', decision],
      ['auto', 'route'],
      ['manual', 'route'],
      ['notify', 'manual'],
      ['finish', 'auto notify validate', convergence],
      ['archive', 'finish'],
      ['audit', 'validate'],
    );
    assert.equal(names(graph, graph.initial), 'validate route audit');
    const settledBy = (name: string) => names(graph, graph.find(name)?.settledBy ?? []);
    assert.equal(settledBy('notify'), 'route');
    assert.equal(settledBy('finish'), 'route');
    assert.equal(settledBy('archive'), 'route');
    assert.equal(settledBy('audit'), '');
  });

  test('lists every decision on the ways to a convergence, in topological order', () => {
    const graph = compile(
      ['end', 'x y', convergence],
      ['y', 'second'],
      ['second', 'x', decision],
      ['x', 'first'],
      ['first', '', decision],
    );
    assert.equal(names(graph, graph.nodes[0]?.settledBy ?? []), 'first second');
  });

  test('joins a batchable step to its worker', () => {
    const graph = compile(
      ['analyze', '', batchable('work')],
      ['work', 'analyze', worker],
      ['sum', 'work', convergence],
    );
    assert.equal(graph.nodes[0]?.worker, 1);
    assert.equal(graph.nodes[1]?.worker, null);
    assert.equal(names(graph, graph.initial), 'analyze');
    assert.equal(names(graph, graph.nodes[2]?.settledBy ?? []), 'analyze');
  });

  test('of one step, and of none', () => {
    assert.equal(compile(['only']).depth, 1);
    assert.deepEqual(compile().order, []);
  });
});

describe('is refused', () => {
  test('a circle, as the path around it, once for each', () => {
    assert.deepEqual(refuse(['a', 'b'], ['b', 'a']), [
      'steps.0.dependencies: steps depend on each other in a circle: a → b → a' +
        ' [Remove one of these dependencies.]',
    ]);
    const two = refuse(['s'], ['c', 'b s'], ['a', 'c'], ['b', 'a'], ['x', 'x'], ['behind', 'a x']);
    assert.deepEqual(
      two.map((one) => /: (?:.*: )?(.*) \[/.exec(one)?.[1]),
      ['c → a → b → c', 'x → x'],
    );
  });

  test('an unknown dependency, with the nearest name', () => {
    assert.deepEqual(refuse(['validate'], ['charge', 'validat']), [
      "steps.1.dependencies.0: 'charge' depends on 'validat', and there is no such step" +
        " [Did you mean 'validate'?]",
    ]);
  });

  test('two steps of one name, and a dependency twice', () => {
    assert.match(refuse(['a'], ['a'])[0] ?? '', /^steps.1.name: there are two steps named 'a'/);
    assert.match(
      refuse(['a'], ['b', 'a a'])[0] ?? '',
      /^steps.1.dependencies.1: 'b' depends.* twice/,
    );
  });

  test('more steps, depth or decisions than allowed; not at the limit', () => {
    const chain = (count: number, more: Partial<GraphStep> = {}): Short[] =>
      Array.from({ length: count }, (_, i) => [`s${i}`, i === 0 ? '' : `s${i - 1}`, more]);
    assert.equal(compile(...chain(50)).depth, 50);
    assert.match(refuse(...chain(51))[0] ?? '', /^steps.50: 's50' is step 51 of a chain, 50 are/);
    const wide = (count: number): Short[] => Array.from({ length: count }, (_, i) => [`s${i}`]);
    assert.equal(compile(...wide(1_000)).nodes.length, 1_000);
    assert.match(refuse(...wide(1_001))[0] ?? '', /^steps: has 1001 steps, 1000 are allowed/);
    const last: Short = ['last', 's19'];
    assert.equal(compile(...chain(20, decision), last).depth, 21);
    const tooMany = refuse(...chain(21, decision), ['last', 's20']);
    assert.match(tooMany[0] ?? '', /^steps.20: 's20' is decision 21 of a chain, 20 are allowed/);
  });

  test('a decision that nothing depends on, a convergence that depends on nothing', () => {
    assert.match(
      refuse(['d', '', decision])[0] ?? '',
      /^steps.0.type: decision 'd' has no step to/,
    );
    assert.match(
      refuse(['c', '', convergence])[0] ?? '',
      /^steps.0.type: deferred_converg.*nothing/,
    );
  });

  test('batches whose parts do not fit', () => {
    const [unknown] = refuse(['a', '', batchable('wrk')], ['work', 'a', worker]);
    assert.match(
      unknown ?? '',
      /batch_config.worker_template: .*'wrk'.* \[Did you mean 'work'\?\]/,
    );
    const [kind] = refuse(['a', '', batchable('b')], ['b', 'a']);
    assert.match(kind ?? '', /worker_template 'b' of 'a' is a standard step \[Give 'b' the type/);
    const [apart] = refuse(['a', '', batchable('b')], ['b', '', worker]);
    assert.match(apart ?? '', /^steps.1.dependencies: batch_worker 'b' does not depend on 'a'/);
    const [idle] = refuse(['a'], ['b', 'a', worker]);
    assert.match(idle ?? '', /^steps.1.type: no batchable step names batch_worker 'b'/);
    const [shared] = refuse(
      ['a', '', batchable('w')],
      ['b', '', batchable('w')],
      ['w', 'a b', worker],
    );
    assert.match(shared ?? '', /batch_worker 'w' is named by a and b/);
    const [many] = refuse(['a', '', batchable('w')], ['w', 'a', worker], ['sum', 'w']);
    assert.match(many ?? '', /^steps.2.dependencies.0: 'sum' depends on the batch_worker 'w'/);
  });
});
