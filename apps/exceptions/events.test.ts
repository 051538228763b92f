/** The catalogue: every type of P9-3, keyed by its exception, strict about its members. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ExceptionIngested, exceptionEvents, FeedbackCaptured, TriageRequested } from './events.ts';

describe('the events of the exception pipeline', () => {
  it('have every type that P9-3 and the timelines name', () => {
    const types = new Set(exceptionEvents.map(({ type }) => type));
    for (const type of [
      ...['ExceptionIngested', 'ExceptionNormalized', 'ManualExceptionCreated'],
      ...['TriageRequested', 'TriageCompleted', 'PolicyEvaluationRequested'],
      ...['PolicyEvaluationCompleted', 'PlaybookMatched', 'StepExecutionRequested'],
      ...['ToolExecutionRequested', 'ToolExecutionCompleted', 'ToolExecutionFailed'],
      ...['FeedbackCaptured', 'SLAImminent', 'SLAExpired', 'PlaybookStarted'],
      ...['PlaybookRecalculationRequested', 'PlaybookStepCompletionRequested'],
      ...['PlaybookStepCompleted', 'PlaybookStepSkipped', 'PlaybookCompleted', 'CommentAdded'],
      ...['ApprovalRequested', 'ApprovalDecided', 'ExceptionResolved', 'ExceptionEscalated'],
    ]) {
      assert.ok(types.delete(type), `${type} is missing`);
    }
    assert.deepEqual([...types], []);
  });

  it('are keyed by their exception, so that its events stay in order', () => {
    for (const definition of exceptionEvents) {
      const key = (definition.key as (payload: unknown) => string | null)({ exceptionId: 'e-9' });
      assert.equal(key, 'e-9', definition.type);
    }
  });

  it('refuse unknown members and missing ones', () => {
    const check = (value: unknown) => {
      const result = TriageRequested.schema['~standard'].validate(value);
      assert.ok(!(result instanceof Promise));
      return result.issues === undefined;
    };
    assert.equal(check({ exceptionId: 'e', exceptionType: null }), true);
    assert.equal(check({ exceptionId: 'e', exceptionType: null, extra: 1 }), false);
    assert.equal(check({ exceptionId: 'e' }), false);
    assert.equal(check({ exceptionId: '', exceptionType: null }), false);
  });

  it('retry an ingested exception longest and feedback least', () => {
    assert.deepEqual(
      [ExceptionIngested.retry?.maxRetries, ExceptionIngested.retry?.initialDelayMs],
      [5, 2_000],
    );
    assert.deepEqual(
      [FeedbackCaptured.retry?.maxRetries, FeedbackCaptured.retry?.initialDelayMs],
      [2, 500],
    );
  });
});
