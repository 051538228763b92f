/** The engine's traces by OpenTelemetry: handlers of events and jobs run in spans of their own. */
import { context, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api';
import type { Tracing } from '../ports/tracing.ts';
import { activeTraceparent, contextOf } from './propagation.ts';

export function createTracing(tracer: Tracer): Tracing {
  return {
    current: () => activeTraceparent(),
    run({ name, traceparent, attributes }, call) {
      const parent = contextOf(traceparent, context.active());
      const span = tracer.startSpan(name, { attributes: { ...attributes } }, parent);
      const failed = (error: unknown) => {
        span.setStatus({
          code: SpanStatusCode.ERROR,
          message: error instanceof Error ? error.message : String(error),
        });
        span.end();
      };
      try {
        const result = context.with(trace.setSpan(parent, span), call);
        if (result instanceof Promise) result.then(() => span.end(), failed);
        else span.end();
        return result;
      } catch (error) {
        failed(error);
        throw error;
      }
    },
  };
}
