/** A template drawn as a Mermaid flowchart: what waits for what, and what outcomes create. */
import type { GraphNode, StepType } from '../../core/workflow/graph.ts';
import type { CompiledTemplate } from '../../core/workflow/template.ts';

const shapes: Readonly<Record<StepType, readonly [open: string, close: string]>> = {
  standard: ['["', '"]'],
  decision: ['{"', '"}'],
  deferred_convergence: ['(["', '"])'],
  batchable: ['[["', '"]]'],
  batch_worker: ['[/"', '"/]'],
};

/** Dotted arrows lead to steps that are there only if an outcome creates them. */
export function drawTemplate({ name, version, graph }: CompiledTemplate): string {
  const { nodes, order } = graph;
  const lines = [`%% ${name} ${version}`, 'flowchart TD'];
  for (const no of order) {
    const node = nodes[no] as GraphNode;
    const [open, close] = shapes[node.type];
    const type = node.type === 'standard' ? '' : `<br/>${node.type}`;
    // Names hold no quotes: they are letters, digits, _ and -.
    lines.push(`  s${no}${open}${node.name}${type}${close}`);
  }
  for (const no of order) {
    const node = nodes[no] as GraphNode;
    const arrow = node.createdAtStart ? '-->' : '-.->';
    for (const before of node.dependsOn) lines.push(`  s${before} ${arrow} s${no}`);
  }
  return lines.join('\n');
}
