/** Playbook runs: order, waiting for people, tools, failure and rollback, and how each ends. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { answerStep, decideApproval } from '../commands.ts';
import { type DryRun, dryRun, tryException } from '../dry-run.ts';
import { ApprovalDecided, PlaybookStepCompletionRequested } from '../events.ts';
import { compilePacks, type Packs } from '../packs/load.ts';
import { createToolRunner } from '../tools/runner.ts';
import { createStages } from './create-stages.ts';

const shop = (steps: string, more = '') => `
domainName: shop
entities: { Order: { attributes: { orderId: string } } }
exceptionTypes: { ORDER_FAIL: {} }
tools:
  pay: { }
  break_it: { simulateProfile: fail }
  undo_break_it: { }
  break_both: { simulateProfile: fail, rollback: break_it }
  lonely: { simulateProfile: fail }
playbooks:
  - id: p
    exceptionType: ORDER_FAIL
    ${more}
    steps:
${steps}`;

const acme = `tenantId: acme
domainName: shop
approvedTools: [pay, break_it, undo_break_it, break_both, lonely]
notificationPolicies: { recipientsByGroup: { ops: [ops@example.org] } }`;

function packsWith(steps: readonly string[], more = ''): Packs {
  const lines = steps.map((step) => `      - ${step}`).join('\n');
  return compilePacks(
    [{ file: 'shop.yaml', text: shop(lines, more) }],
    [{ file: 'acme.yaml', text: acme }],
  );
}

const callTool = (name: string) => `{ action: call_tool, parameters: { tool_id: ${name} } }`;
const tell = '{ action: notify, parameters: { group: ops, subject: "{exception.orderId}" } }';
const manual = '{ action: telephone, stepId: call }';

const start = (packs: Packs, severity: 'HIGH' | 'CRITICAL' = 'HIGH') =>
  tryException(packs, {
    tenantId: 'acme',
    domain: 'shop',
    exceptionType: 'ORDER_FAIL',
    severity,
    payload: { orderId: 'O-1' },
  });

const typesAfter = (run: DryRun, eventType: string) => {
  const types = run.events.map((event) => event.eventType);
  return types.slice(types.lastIndexOf(eventType) + 1);
};

const stagesOf = (packs: Packs) => createStages({ packs, tools: createToolRunner() });

describe('a playbook run', () => {
  it('goes through its steps in order and resolves the exception', async () => {
    const owner = '{ action: assign_owner, parameters: { queue: desk } }';
    const comment = '{ action: add_comment, parameters: { text: "for {exception.orderId}" } }';
    const run = await start(packsWith([tell, owner, comment, callTool('pay')]));
    assert.deepEqual(typesAfter(run, 'PlaybookMatched'), [
      'PlaybookStarted',
      'StepExecutionRequested',
      'PlaybookStepCompleted',
      'StepExecutionRequested',
      'PlaybookStepCompleted',
      'StepExecutionRequested',
      'CommentAdded',
      'PlaybookStepCompleted',
      'StepExecutionRequested',
      'ToolExecutionRequested',
      'ToolExecutionCompleted',
      'PlaybookStepCompleted',
      'PlaybookCompleted',
      'ExceptionResolved',
      'FeedbackCaptured',
    ]);
    const orders = run.events
      .filter((event) => event.eventType === 'PlaybookStepCompleted')
      .map(({ payload }) => payload as { stepOrder: number; recipients?: string[] });
    assert.deepEqual(
      orders.map(({ stepOrder }) => stepOrder),
      [1, 2, 3, 4],
    );
    assert.deepEqual(orders[0]?.recipients, ['ops@example.org']);
    assert.equal(run.state?.owner, 'desk');
    assert.equal(run.state?.status, 'RESOLVED');
    const comments = run.events.filter((event) => event.eventType === 'CommentAdded');
    assert.deepEqual(
      comments.map(({ payload }) => (payload as { text: string }).text),
      ['for O-1'],
    );
  });

  it('ends escalated when its last status says so', async () => {
    const escalate = '{ action: set_status, parameters: { status: ESCALATED } }';
    const { state } = await start(packsWith([tell, escalate]));
    assert.deepEqual(
      [state?.status, state?.outcome, state?.stage],
      ['ESCALATED', 'ESCALATED', 'done'],
    );
  });

  it('waits at a step that only people can do, and goes on from there', async () => {
    const packs = packsWith([tell, manual, callTool('pay')]);
    const waiting = await start(packs);
    assert.equal(waiting.state?.stage, 'human');
    assert.equal(waiting.state?.currentStep, 2);
    assert.ok(waiting.state?.waiting);
    const answer = { stepOrder: 2, verb: 'complete', actorType: 'human', actorId: 'ada' } as const;
    const command = answerStep('acme', waiting.state, answer);
    const done = await dryRun(
      stagesOf(packs),
      PlaybookStepCompletionRequested,
      command.input,
      waiting,
    );
    assert.equal(done.state?.status, 'RESOLVED');
    assert.equal(done.state?.waiting, null);
    assert.deepEqual(typesAfter(done, 'PlaybookStepCompletionRequested').slice(0, 3), [
      'PlaybookStepCompleted',
      'StepExecutionRequested',
      'ToolExecutionRequested',
    ]);
    assert.equal(command.input.eventId, answerStep('acme', waiting.state, answer).input.eventId);
  });

  it('skips a step on demand and counts it apart', async () => {
    const packs = packsWith([manual]);
    const waiting = await start(packs);
    assert.ok(waiting.state);
    const answer = { stepOrder: 1, verb: 'skip', actorType: 'human', actorId: 'ada' } as const;
    const { input } = answerStep('acme', waiting.state, answer);
    const done = await dryRun(stagesOf(packs), PlaybookStepCompletionRequested, input, waiting);
    const completed = done.events.find((event) => event.eventType === 'PlaybookCompleted');
    const payload = completed?.payload as { completedSteps: number; skippedSteps: number };
    assert.deepEqual([payload.completedSteps, payload.skippedSteps], [0, 1]);
  });

  it('refuses a machine at a risky step and a step out of order', async () => {
    const packs = packsWith([manual, manual]);
    const waiting = await start(packs);
    assert.ok(waiting.state?.waiting);
    const { state } = waiting;
    const person = { verb: 'complete', actorType: 'human', actorId: 'ada' } as const;
    assert.throws(() => answerStep('acme', state, { ...person, stepOrder: 2 }), {
      code: 'REQUEST_INVALID',
      message: 'step 2 is not the one that waits',
    });
    const machine = { ...person, stepOrder: 1, actorType: 'agent' } as const;
    assert.throws(() => answerStep('acme', state, machine), { code: 'REQUEST_INVALID' });

    // Published all the same, the stage refuses with a remark and leaves the run where it was.
    const { exception, run } = state.waiting as NonNullable<typeof state.waiting>;
    const refused = await dryRun(
      stagesOf(packs),
      PlaybookStepCompletionRequested,
      {
        tenantId: 'acme',
        payload: { exceptionId: exception.exceptionId, ...machine, exception, run },
      },
      waiting,
    );
    assert.deepEqual(typesAfter(refused, 'PlaybookStepCompletionRequested'), ['CommentAdded']);
    assert.equal(refused.state?.waiting?.stepOrder, 1);
  });

  it('leaves a tool that the tenant may not call to a person', async () => {
    const packs = packsWith([callTool('pay')]);
    const other = await tryException(packs, {
      tenantId: 'stranger',
      domain: 'shop',
      exceptionType: 'ORDER_FAIL',
      severity: 'LOW',
      payload: {},
    });
    assert.equal(other.state?.status, 'PENDING_APPROVAL');
    assert.ok(other.state);
    const { input } = decideApproval('stranger', other.state, {
      decision: 'APPROVED',
      user: 'eve',
    });
    const approved = await dryRun(stagesOf(packs), ApprovalDecided, input, other);
    assert.equal(approved.state?.stage, 'human', 'an approval is no licence for the tool');
  });
});

describe('a notification', () => {
  it('is posted to the webhook of its channel, and its failure holds nothing up', async () => {
    const step = '{ action: notify, parameters: { channel: chat, group: ops, subject: Hello } }';
    const webhook = 'webhookUrls: { chat: "https://chat.example.org/hook" }';
    const text = shop(`      - ${step}`);
    const policy = acme.replace('{ recipients', `{ ${webhook}, recipients`);
    const packs = compilePacks(
      [{ file: 'shop.yaml', text }],
      [{ file: 'acme.yaml', text: policy }],
    );
    const run = await start(packs);
    const request = run.events.find((event) => event.eventType === 'ToolExecutionRequested');
    assert.ok(request);
    const { tool, payload } = request.payload as { tool: string; payload: Record<string, unknown> };
    assert.equal(tool, 'notification:chat');
    assert.deepEqual([payload.text, payload.recipients], ['Hello', ['ops@example.org']]);
    // tryException sends nothing over the network, so this one fails.
    assert.ok(run.events.some((event) => event.eventType === 'ToolExecutionFailed'));
    assert.equal(run.state?.status, 'RESOLVED');
  });
});

describe('a tool that fails', () => {
  it('is taken back, and the exception escalated', async () => {
    const run = await start(packsWith([callTool('break_it'), tell]));
    assert.deepEqual(typesAfter(run, 'StepExecutionRequested'), [
      'ToolExecutionRequested',
      'ToolExecutionFailed',
      'PlaybookStepCompleted',
      'ToolExecutionRequested',
      'ToolExecutionCompleted',
      'ExceptionEscalated',
      'FeedbackCaptured',
    ]);
    assert.equal(run.state?.reason, 'step 1 failed and undo_break_it took it back');
  });

  it('escalates at once when nothing takes it back', async () => {
    const run = await start(packsWith([callTool('lonely')]));
    assert.equal(run.state?.reason, 'step 1: lonely failed: the simulated tool always fails');
    assert.equal(run.state?.status, 'ESCALATED');
  });

  it('says so when taking it back fails too', async () => {
    const run = await start(packsWith([callTool('break_both')]));
    assert.match(run.state?.reason ?? '', /^step 1 failed, and so did its rollback break_it: /);
  });
});

describe('an approval', () => {
  const packs = packsWith([callTool('pay')]);

  it('is waited for, and its run belongs to the person who gave it', async () => {
    const waiting = await start(packs, 'CRITICAL');
    assert.equal(waiting.state?.status, 'PENDING_APPROVAL');
    assert.ok(waiting.state);
    const { input } = decideApproval('acme', waiting.state, { decision: 'APPROVED', user: 'ada' });
    const done = await dryRun(stagesOf(packs), ApprovalDecided, input, waiting);
    assert.equal(done.state?.status, 'RESOLVED');
    const resolved = done.events.find((event) => event.eventType === 'ExceptionResolved');
    assert.ok(resolved);
    assert.equal((resolved.payload as { lastActor: string }).lastActor, 'ada');
    assert.throws(
      () => decideApproval('acme', done.state as never, { decision: 'REJECTED', user: 'x' }),
      {
        code: 'REQUEST_INVALID',
      },
    );
  });

  it('ends escalated when refused, with the comment as the reason', async () => {
    const waiting = await start(packs, 'CRITICAL');
    assert.ok(waiting.state);
    const answer = { decision: 'REJECTED', user: 'ada', comments: 'not today' } as const;
    const { input } = decideApproval('acme', waiting.state, answer);
    const done = await dryRun(stagesOf(packs), ApprovalDecided, input, waiting);
    assert.equal(done.state?.reason, 'approval was rejected: not today');
    assert.equal(done.events.at(-1)?.eventType, 'FeedbackCaptured');
  });

  it('does not start a playbook that changed meanwhile', async () => {
    const waiting = await start(packs, 'CRITICAL');
    assert.ok(waiting.state);
    const { input } = decideApproval('acme', waiting.state, { decision: 'APPROVED', user: 'ada' });
    const changed = packsWith([tell, callTool('pay')]);
    const done = await dryRun(stagesOf(changed), ApprovalDecided, input, waiting);
    assert.equal(done.state?.reason, 'playbook p was changed while the run waited at step 1');
  });
});
