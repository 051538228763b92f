import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amount, duration, startProgress } from './progress.ts';

function screen(isTTY: boolean, columns = 200) {
  const texts: string[] = [];
  return {
    output: { write: (more: string) => void texts.push(more), isTTY, columns },
    get text() {
      return texts.join('');
    },
    get lines() {
      return texts
        .join('')
        .split('\n')
        .filter((line) => line !== '');
    },
  };
}

test('without a terminal there is one line for every tenth, and the last one says 100 %', () => {
  const shown = screen(false);
  let clock = 0;
  const progress = startProgress({
    output: shown.output,
    label: 'reading',
    total: 1_000,
    unit: 'lines',
    now: () => clock,
  });
  for (let done = 1; done <= 1_000; done += 1) {
    clock += 1;
    progress.update(done);
  }
  progress.end();
  assert.equal(shown.lines.length, 10);
  assert.match(
    shown.lines[4] as string,
    / 50% {2}500 lines of 1,000 lines {2}1,000 lines\/s {2}500 ms left/,
  );
  assert.match(shown.lines[9] as string, /100%/);
  assert.doesNotMatch(shown.text.replaceAll('\n', ''), /\p{Cc}/u);
});

test('a terminal is redrawn in place, at most ten times a second, and never wraps', () => {
  const shown = screen(true, 40);
  let clock = 0;
  const progress = startProgress({
    output: shown.output,
    label: 'a label that is longer than the screen',
    total: 100,
    unit: 'B',
    now: () => clock,
  });
  for (let done = 1; done <= 100; done += 1) {
    clock += 10;
    progress.update(done);
  }
  progress.say('a line above');
  progress.end();
  const draws = shown.text.split('\r').length - 1;
  assert.ok(draws <= 14, `${draws} draws`);
  for (const drawn of shown.text.split('\r').slice(1)) {
    const visible = drawn.split('\u001b[K')[0] as string;
    assert.ok(visible.length < 40, visible);
  }
  assert.match(shown.text, /a line above\n/);
  assert.ok(shown.text.endsWith('\n'));
});

test('an unknown total shows what was done, at growing distances', () => {
  const shown = screen(false);
  let clock = 0;
  const output = shown.output;
  const now = () => (clock += 1);
  const progress = startProgress({ output, label: 'in', total: null, unit: 'lines', now });
  for (let done = 0; done <= 100_000; done += 1_000) progress.update(done);
  progress.end();
  assert.equal(shown.lines.length, 5); // 10, 20, 40 and 80 thousand, and the end
  assert.doesNotMatch(shown.text, /%/);
});

test('amounts and durations are for people', () => {
  assert.equal(amount(1_234_567, 'events'), '1,234,567 events');
  assert.equal(amount(3_565_158, 'B'), '3.4 MiB');
  assert.equal(duration(0.085), '85 ms');
  assert.equal(duration(7.25), '7.3 s');
  assert.equal(duration(200), '3 min 20 s');
  assert.equal(duration(3_900), '1 h 05 min');
});
