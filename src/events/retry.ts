/**
 * The retry policies of event types that have one by default (P9-14); all others get the general
 * one.
 */
import { createRetryPolicies } from '../core/retry.ts';

export const retryPolicies = createRetryPolicies({
  ExceptionIngested: { maxRetries: 5, initialDelayMs: 2_000, maxDelayMs: 600_000 },
  FeedbackCaptured: { maxRetries: 2, initialDelayMs: 500, maxDelayMs: 60_000 },
});
