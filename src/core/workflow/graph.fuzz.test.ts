/** Random graphs: those without a circle compile and are in order, others name a real circle. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Random, seededRandom } from '../../../test/support/random.ts';
import { compileGraph, type GraphNode, type GraphStep, workflowLimits } from './graph.ts';

function randomSteps(random: Random, acyclic: boolean): GraphStep[] {
  const count = 1 + random.below(80);
  const density = random.next() * 0.2;
  // Written in any order: numbers say nothing about what comes first.
  const rank = Array.from({ length: count }, () => random.next());
  return rank.map((own, no) => ({
    name: `s${no}`,
    type: 'standard',
    workerTemplate: null,
    dependencies: rank.flatMap((other, i) => {
      const allowed = acyclic ? other < own : i !== no || random.chance(0.02);
      return allowed && random.chance(density) ? [`s${i}`] : [];
    }),
  }));
}

test('graphs without circles: order, in-degrees, dependents and depth hold', (t) => {
  const random = seededRandom(t);
  let compiled = 0;
  for (let round = 0; round < 400; round += 1) {
    const steps = randomSteps(random, true);
    const { graph, problems } = compileGraph(steps);
    if (graph === null) {
      assert.match(problems.map(({ message }) => message).join(), /of a chain, 50 are allowed/);
      continue;
    }
    compiled += 1;
    const { nodes } = graph;
    const place = new Map(graph.order.map((no, at) => [no, at]));
    assert.equal(place.size, steps.length);
    for (const node of graph.nodes) {
      const before: GraphNode[] = node.dependsOn.map((no) => nodes[no] as GraphNode);
      assert.deepEqual(
        before.map((one) => one.name),
        steps[node.no]?.dependencies,
      );
      assert.equal(node.inDegree, node.dependsOn.length);
      assert.equal(node.depth, Math.max(0, ...before.map((one) => one.depth)) + 1);
      for (const no of node.dependsOn) {
        assert.ok((place.get(no) as number) < (place.get(node.no) as number));
        assert.ok(graph.nodes[no]?.dependents.includes(node.no));
      }
    }
    assert.equal(graph.depth, Math.max(...graph.nodes.map(({ depth }) => depth)));
    assert.ok(graph.depth <= workflowLimits.depth);
    // Counting in-degrees down, as a driver does, runs every step once.
    const waiting = graph.nodes.map(({ inDegree }) => inDegree);
    const ready = graph.initial.filter((no) => waiting[no] === 0);
    for (const no of ready) {
      for (const next of graph.nodes[no]?.dependents ?? []) {
        waiting[next] = (waiting[next] as number) - 1;
        if (waiting[next] === 0) ready.push(next);
      }
    }
    assert.equal(new Set(ready).size, steps.length);
    assert.equal(ready.length, steps.length);
  }
  assert.ok(compiled > 100, `${compiled} graphs compiled`);
});

test('circles that are named are circles, and none is overlooked', (t) => {
  const random = seededRandom(t);
  let circles = 0;
  for (let round = 0; round < 400; round += 1) {
    const steps = randomSteps(random, false);
    const { problems } = compileGraph(steps);
    const named = problems.filter(({ message }) => message.includes('in a circle'));
    assert.equal(named.length > 0, hasCircle(steps));
    for (const { message } of named) {
      circles += 1;
      const around = (message.split(': ')[1] as string).split(' → ');
      assert.equal(around[0], around.at(-1));
      assert.equal(new Set(around.slice(1)).size, around.length - 1);
      for (const [i, name] of around.entries()) {
        if (i === 0) continue;
        const { dependencies } = steps.find((one) => one.name === name) as GraphStep;
        assert.ok(dependencies.includes(around[i - 1] as string), message);
      }
    }
  }
  assert.ok(circles > 100, `${circles} circles were named`);
});

/** The plain way: remove steps that wait for nothing until there are none. */
function hasCircle(steps: readonly GraphStep[]): boolean {
  let rest = steps;
  for (;;) {
    const names = new Set(rest.map(({ name }) => name));
    const next = rest.filter(({ dependencies }) => dependencies.some((name) => names.has(name)));
    if (next.length === rest.length) return rest.length > 0;
    rest = next;
  }
}
