/** docs/telemetry.md has the table that the mapping gives. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { systemEventNames } from '../core/workflow/system-events.ts';
import { extraLabels, systemEventTelemetry } from './mapping.ts';

const spans = { task: 'task.orchestration', step: 'step.execution' } as const;

const labelsText = {
  step: 'namespace, step_name',
  'step error': 'namespace, step_name, error_type',
  'task error': 'namespace, error_code',
} as const;

function systemEventTable(): string {
  const lines = [
    '| system event | span | there it is | counters (labels) | gauge |',
    '|---|---|---|---|---|',
  ];
  for (const name of systemEventNames) {
    const { span, as, counters, gauge } = systemEventTelemetry[name];
    const counted = counters.map((counter) => {
      const extra = extraLabels[counter];
      return `\`${counter}\` (${extra === undefined ? 'namespace' : labelsText[extra]})`;
    });
    const cells = [
      `\`${name}\``,
      `\`${spans[span]}\``,
      as === 'event' ? 'a span event' : `its ${as}, and a span event`,
      counted.join(', ') || '–',
      gauge ? `\`${gauge}\`` : '–',
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return lines.join('\n');
}

test('the document says what the code does', () => {
  const document = readFileSync(new URL('../../docs/telemetry.md', import.meta.url), 'utf8');
  assert.ok(document.includes(systemEventTable()), `put this there:\n${systemEventTable()}`);
});
