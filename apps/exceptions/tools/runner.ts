/**
 * Runs one tool call: checks that the tool exists and is allowed, checks the payload against its
 * input schema, asks the provider, checks the answer. It never throws and never retries by itself:
 * the outcome says whether trying again can help, and the engine does that durably.
 */
import type { CompiledTool } from '../packs/compiled.ts';
import { type CircuitBreaker, createCircuitBreaker } from './circuit.ts';
import { createHttpProvider, createWebhookProvider } from './http.ts';
import { compileJsonSchema, type SchemaCheck } from './json-schema.ts';
import { blocked, type ToolOutcome, type ToolProvider, type ToolRequest } from './outcome.ts';
import { simulate } from './simulate.ts';

export interface ToolRunner {
  /** A plain value for tools that answer at once, a promise for the others; never rejects. */
  run(request: ToolRequest): ToolOutcome | Promise<ToolOutcome>;
}

export interface ToolRunnerOptions {
  /** Providers other than the usual ones; null switches the mode off. */
  readonly http?: ToolProvider | null;
  readonly webhook?: ToolProvider | null;
  /** Milliseconds, for the circuit breakers. */
  readonly now?: () => number;
}

export function createToolRunner(options: ToolRunnerOptions = {}): ToolRunner {
  const { http = createHttpProvider(), webhook = createWebhookProvider() } = options;
  const checksOf = createChecks();
  const circuitOf = createCircuits(options.now ?? Date.now);

  const send = async (tool: CompiledTool, request: ToolRequest): Promise<ToolOutcome> => {
    const provider = tool.spec.executionMode === 'http' ? http : webhook;
    if (provider === null) return blocked(`${tool.spec.executionMode} tools are switched off`);
    const circuit = circuitOf(request.tenantId, tool);
    const waitMs = circuit.openForMs();
    if (waitMs > 0) {
      const error = `the circuit is open for ${Math.ceil(waitMs / 1_000)} s more`;
      return { ...blocked(error), retryable: true };
    }
    const outcome = await provider.send(tool, request);
    if (outcome.ok) circuit.succeeded();
    else if (outcome.retryable) circuit.failed();
    return checkAnswer(outcome, checksOf(tool).output);
  };

  return {
    run(request) {
      const { tool } = request;
      if (tool === undefined) return blocked(`there is no tool '${request.toolName}'`);
      if (!tool.allowed) return blocked(`tool '${tool.name}' ${tool.refusal}`);
      const { input, output } = checksOf(tool);
      const problem = input(request.payload, 'payload');
      if (problem !== null) return blocked(problem);
      if (tool.spec.executionMode !== 'simulate') return send(tool, request);
      const outcome = simulate(tool.spec.simulateProfile, request);
      return outcome instanceof Promise
        ? outcome.then((answer) => checkAnswer(answer, output))
        : checkAnswer(outcome, output);
    },
  };
}

interface ToolChecks {
  readonly input: SchemaCheck;
  readonly output: SchemaCheck;
}

const anything: SchemaCheck = () => null;

/** The schema checks of each tool, compiled at its first call. */
function createChecks(): (tool: CompiledTool) => ToolChecks {
  const compiled = new WeakMap<CompiledTool, ToolChecks>();
  return (tool) => {
    const known = compiled.get(tool);
    if (known !== undefined) return known;
    const input = tool.spec.inputSchema ?? tool.spec.parameters;
    const output = tool.spec.outputSchema;
    const checks = {
      input: input === undefined ? anything : compileJsonSchema(input),
      output: output === undefined ? anything : compileJsonSchema(output),
    };
    compiled.set(tool, checks);
    return checks;
  };
}

/** One circuit per tenant and tool: a tenant's broken endpoint does not stop the others'. */
function createCircuits(now: () => number) {
  const circuits = new WeakMap<CompiledTool, Map<string, CircuitBreaker>>();
  return (tenantId: string, tool: CompiledTool): CircuitBreaker => {
    const ofTool = circuits.get(tool) ?? new Map<string, CircuitBreaker>();
    circuits.set(tool, ofTool);
    const circuit = ofTool.get(tenantId) ?? createCircuitBreaker(now);
    ofTool.set(tenantId, circuit);
    return circuit;
  };
}

function checkAnswer(outcome: ToolOutcome, check: SchemaCheck): ToolOutcome {
  if (!outcome.ok) return outcome;
  const error = check(outcome.output, 'answer');
  if (error === null) return outcome;
  const { provider, durationMs } = outcome;
  return { ok: false, provider, durationMs, errorCode: 'TOOL_FAILED', error, retryable: false };
}
