/** The circuit breaker: five failures open it, a minute later one call may try. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createCircuitBreaker } from './circuit.ts';

it('opens after five failures in a row and lets one call through after a minute', () => {
  let now = 0;
  const circuit = createCircuitBreaker(() => now);
  for (let failure = 0; failure < 4; failure++) circuit.failed();
  circuit.succeeded();
  for (let failure = 0; failure < 4; failure++) circuit.failed();
  assert.equal(circuit.openForMs(), 0, 'a success in between starts the count again');
  circuit.failed();
  assert.equal(circuit.openForMs(), 60_000);
  now = 59_999;
  assert.equal(circuit.openForMs(), 1);
  now = 60_000;
  assert.equal(circuit.openForMs(), 0, 'one may try');
  assert.equal(circuit.openForMs(), 60_000, 'the others wait for its outcome');
  circuit.failed();
  now = 120_000;
  assert.equal(circuit.openForMs(), 0);
  circuit.succeeded();
  assert.equal(circuit.openForMs(), 0);
  assert.equal(circuit.openForMs(), 0);
});
