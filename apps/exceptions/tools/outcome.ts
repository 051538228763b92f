/** What a tool call is given and what it comes to: the words that runner and providers share. */
import type { CompiledTool } from '../packs/compiled.ts';

export interface ToolRequest {
  readonly tenantId: string;
  /** Undefined when the tenant's domain has no such tool. */
  readonly tool: CompiledTool | undefined;
  readonly toolName: string;
  /** Idempotency key: the same for every attempt. */
  readonly executionId: string;
  readonly payload: Readonly<Record<string, unknown>>;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly signal: AbortSignal;
}

export interface ToolSuccess {
  readonly ok: true;
  readonly provider: string;
  readonly durationMs: number;
  readonly output: Readonly<Record<string, unknown>>;
}

export interface ToolFailure {
  readonly ok: false;
  readonly provider: string;
  readonly durationMs: number;
  /** TOOL_FAILED, or TOOL_BLOCKED when it was not even tried. */
  readonly errorCode: 'TOOL_FAILED' | 'TOOL_BLOCKED';
  readonly error: string;
  /** True when the same call may succeed later. */
  readonly retryable: boolean;
}

export type ToolOutcome = ToolSuccess | ToolFailure;

/** Sends a call over the network. Never rejects. */
export interface ToolProvider {
  send(tool: CompiledTool, request: ToolRequest): Promise<ToolOutcome>;
}

/** A call that was refused before it was made. */
export function blocked(error: string): ToolFailure {
  const provider = 'none';
  return { ok: false, provider, durationMs: 0, errorCode: 'TOOL_BLOCKED', error, retryable: false };
}
