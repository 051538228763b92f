import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type DeploymentMode, deploymentModes, Heads, type WakeSource } from './heads.ts';

const sources: readonly WakeSource[] = ['local', 'notice', 'poll'];

it('each mode listens to its own wakers', () => {
  const heard = (mode: DeploymentMode) =>
    sources.filter((source) => {
      const heads = new Heads(1, mode);
      heads.raise(0, 5, source);
      return heads.of(0) === 5;
    });
  assert.deepEqual(Object.fromEntries(deploymentModes.map((mode) => [mode, heard(mode)])), {
    EventDrivenOnly: ['local', 'notice'],
    PollingOnly: ['poll'],
    Hybrid: ['local', 'notice', 'poll'],
  });
});

it('listeners hear of each partition that got further, and of nothing else', () => {
  const heads = new Heads(3, 'Hybrid');
  const heard: number[] = [];
  const leave = heads.subscribe((partition) => heard.push(partition));
  heads.raise(1, 10, 'local');
  heads.raise(1, 10, 'notice');
  heads.raise(1, 9, 'poll');
  heads.raise(2, 1, 'poll');
  assert.deepEqual(heard, [1, 2]);
  assert.equal(heads.of(1), 10);
  assert.equal(heads.of(0), 0);
  leave();
  heads.raise(1, 11, 'local');
  assert.deepEqual(heard, [1, 2]);
});

it('what a mode did not hear, the next one can', () => {
  const heads = new Heads(1, 'PollingOnly');
  heads.raise(0, 3, 'local');
  heads.mode = 'Hybrid';
  heads.raise(0, 3, 'local');
  assert.equal(heads.of(0), 3);
});
