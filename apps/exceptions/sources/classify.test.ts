/** Invented lines of each kind of system, faulty and ordinary: classify.cases.yaml. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { classify } from './classify.ts';
import { parseLogLine } from './log-formats.ts';
import { toIsoTime } from './log-time.ts';

const referenceMs = Date.parse('2026-03-01T00:00:00Z');

interface Case {
  readonly line: string;
  /** Type and severity, or `ordinary`. */
  readonly outcome: string;
  readonly time?: string;
}

const kinds = parse(
  readFileSync(new URL('classify.cases.yaml', import.meta.url), 'utf8'),
) as Readonly<Record<string, readonly Case[]>>;

for (const [kind, cases] of Object.entries(kinds)) {
  describe(kind, () => {
    for (const { line, outcome, time } of cases) {
      test(line.slice(0, 90), () => {
        const parsed = parseLogLine(line, undefined);
        assert.ok(parsed, 'no format fits');
        const fault = classify(parsed.line);
        assert.equal(
          fault === null ? 'ordinary' : `${fault.type} ${fault.severity}`,
          outcome,
          `${parsed.format.name}: ${JSON.stringify(parsed.line)}`,
        );
        if (time !== undefined) assert.equal(toIsoTime(parsed.line.time, referenceMs), time);
      });
    }
  });
}

test('a trace makes a fault of a line that says little, but not at DEBUG', () => {
  const line = { time: '', level: { name: 'WARN', rank: 2 }, message: 'retrying' } as const;
  assert.equal(classify(line), null);
  assert.deepEqual(classify(line, 'java.net.ConnectException: Connection refused'), {
    type: 'CONNECTION_FAILURE',
    severity: 'LOW',
  });
  assert.equal(classify({ ...line, level: { name: 'DEBUG', rank: 0 } }, 'x.YException: z'), null);
});
