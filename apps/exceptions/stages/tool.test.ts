/** The tool stage: retries belong to the engine, the last failure to the playbook. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { newEventId } from 'millrace';
import { ToolExecutionRequested } from '../events.ts';
import { compilePacks } from '../packs/load.ts';
import { createToolRunner } from '../tools/runner.ts';
import { createTool } from './tool.ts';

const shop = `
domainName: shop
exceptionTypes: { ORDER_FAIL: {} }
tools:
  pay: { maxRetries: 2, inputSchema: { type: object, required: [total] } }
  flaky: { simulateProfile: flaky, tenantScope: global }
`;
const packs = compilePacks(
  [{ file: 'shop.yaml', text: shop }],
  [{ file: 'a.yaml', text: 'tenantId: acme\ndomainName: shop\napprovedTools: [pay]' }],
);

interface Published {
  readonly type: string;
  readonly payload: Record<string, unknown>;
}

async function run(
  fields: { tool: string; tenantId?: string; executionId?: string; total?: number },
  attempt: number,
): Promise<Published[]> {
  const published: Published[] = [];
  const { tool, tenantId = 'acme', executionId = 'x-1', total } = fields;
  const event = {
    eventId: newEventId(),
    eventType: ToolExecutionRequested.type,
    version: 1,
    tenantId,
    key: 'e-1',
    timestamp: '2026-01-01T00:00:00.000Z',
    correlationId: 'e-1',
    causationId: null,
    metadata: {},
    partition: 0,
    offset: 1,
    payload: {
      exceptionId: 'e-1',
      executionId,
      tool,
      domain: 'shop',
      actorType: 'human',
      actorId: 'ada',
      rollbackOf: null,
      exception: null,
      run: null,
      payload: total === undefined ? {} : { total },
    },
  };
  await createTool(packs, createToolRunner()).handle(event, {
    attempt,
    signal: new AbortController().signal,
    publish(definition, input) {
      published.push({ type: definition.type, payload: input.payload as Record<string, unknown> });
    },
  });
  return published;
}

/** An execution that the flaky profile fails at first: one in two is. */
async function unluckyExecution(): Promise<string> {
  for (let index = 0; ; index++) {
    try {
      await run({ tool: 'flaky', executionId: `x-${index}` }, 1);
    } catch {
      return `x-${index}`;
    }
  }
}

describe('the tool stage', () => {
  it('completes with the answer and the attempt', async () => {
    const [event] = await run({ tool: 'pay', total: 3 }, 1);
    assert.ok(event);
    assert.equal(event.type, 'ToolExecutionCompleted');
    assert.equal(event.payload.attempts, 1);
    assert.equal((event.payload.output as { status: string }).status, 'ok');
  });

  it('throws what may pass, so that the engine repeats it, and then completes', async () => {
    const executionId = await unluckyExecution();
    await assert.rejects(run({ tool: 'flaky', executionId }, 1), { code: 'TOOL_FAILED' });
    const [event] = await run({ tool: 'flaky', executionId }, 2);
    assert.equal(event?.type, 'ToolExecutionCompleted');
    assert.equal(event?.payload.attempts, 2);
  });

  it('reports at once what will not pass', async () => {
    for (const [fields, error] of [
      [{ tool: 'pay' }, 'payload.total is required'],
      [{ tool: 'pay', tenantId: 'other', total: 1 }, "tool 'pay' is not approved for tenant *"],
      [{ tool: 'dig' }, "there is no tool 'dig'"],
    ] as const) {
      const [event] = await run(fields, 1);
      assert.equal(event?.type, 'ToolExecutionFailed');
      assert.equal(event?.payload.error, error);
      assert.equal(event?.payload.errorCode, 'TOOL_BLOCKED');
    }
  });
});
