/** A run as a Mermaid flow chart: each step with its state and how long it took. */
import type { StepState } from '../../core/workflow/states.ts';
import type { RunView, StepView } from './run-view.ts';

const colours: Readonly<Record<StepState, string>> = {
  pending: 'fill:#f5f5f5,stroke:#9e9e9e,color:#424242',
  enqueued: 'fill:#e3f2fd,stroke:#64b5f6,color:#0d47a1',
  in_progress: 'fill:#bbdefb,stroke:#1e88e5,color:#0d47a1',
  enqueued_for_orchestration: 'fill:#e8f5e9,stroke:#81c784,color:#1b5e20',
  enqueued_as_error_for_orchestration: 'fill:#fff3e0,stroke:#ffb74d,color:#e65100',
  waiting_for_retry: 'fill:#fff8e1,stroke:#ffb300,color:#ff6f00',
  complete: 'fill:#c8e6c9,stroke:#43a047,color:#1b5e20',
  error: 'fill:#ffcdd2,stroke:#e53935,color:#b71c1c',
  cancelled: 'fill:#eeeeee,stroke:#757575,color:#424242',
  resolved_manually: 'fill:#e1bee7,stroke:#8e24aa,color:#4a148c',
};

/** Text of a Mermaid chart; steps that name no other come one after the other. */
export function drawRun(run: RunView, steps: readonly StepView[]): string {
  const numbers = new Map(steps.map(({ name, no }) => [name, no]));
  const isChain = steps.every(({ dependsOn }) => dependsOn.length === 0);
  const title = `${run.namespace}/${run.name}@${run.version}`;
  const lines = [
    'flowchart TD',
    `  run(["${label(title)}<br/>${run.state}${took(run.durationMs)}"])`,
  ];
  for (const step of steps) lines.push(`  s${step.no}["${textOf(step)}"]:::${step.state}`);
  for (const [i, step] of steps.entries()) {
    const sources = step.dependsOn.flatMap((name) => numbers.get(name) ?? []);
    const before = steps[i - 1];
    if (sources.length > 0) lines.push(...sources.map((no) => `  s${no} --> s${step.no}`));
    else if (isChain && before !== undefined) lines.push(`  s${before.no} --> s${step.no}`);
    else lines.push(`  run --> s${step.no}`);
  }
  for (const state of new Set(steps.map(({ state }) => state))) {
    lines.push(`  classDef ${state} ${colours[state]}`);
  }
  return `${lines.join('\n')}\n`;
}

function textOf(step: StepView): string {
  const tries = step.attempts > 1 ? `, ${step.attempts} tries` : '';
  const kind = step.kind === 'standard' || step.kind === 'run' ? '' : `<br/>${step.kind}`;
  const error = step.error === null ? '' : `<br/>${label(short(step.error.message))}`;
  const done = `${step.state}${took(step.durationMs)}${tries}`;
  return `${label(step.name)}${kind}<br/>${done}${error}`;
}

function took(ms: number | null): string {
  if (ms === null) return '';
  if (ms < 1_000) return ` · ${Math.round(ms)} ms`;
  return ` · ${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

function short(text: string): string {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

/** Mermaid reads quotes, brackets and hashes as its own: entities are shown as they are. */
function label(text: string): string {
  return text.replace(/["#<>&`\\;[\](){}|\p{Cc}]/gu, (char) => `#${char.codePointAt(0)};`);
}
