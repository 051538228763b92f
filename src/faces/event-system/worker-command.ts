/** The twelve commands of a worker, each with its answer. `WorkerProcessor.send` takes them. */
import type { SystemHealth } from './event-driven-system.ts';
import type { WorkerEventStatistics } from './worker-event-statistics.ts';
import type { MessageReadyEvent, StepMessage } from './worker-queue-event.ts';

/** A message by its id. */
export type MessageRef = Pick<StepMessage, 'messageId'>;

/** How a step came out, as something outside of the process says it. */
export interface StepExecutionResult {
  readonly success: boolean;
  readonly result?: unknown;
  readonly error?: {
    readonly message: string;
    readonly errorType?: string;
    readonly retryable?: boolean;
  };
}

/** The step that a result belongs to: a message that is held here, or a step of a run. */
export type StepAddress =
  | MessageRef
  | { readonly runId: string; readonly step: number; readonly attempt: number };

export type WorkerCommand =
  | { readonly type: 'ExecuteStep'; readonly message: MessageRef; readonly queueName: string }
  | {
      readonly type: 'ExecuteStepWithCorrelation';
      readonly message: MessageRef;
      readonly queueName: string;
      readonly correlationId: string;
    }
  | {
      readonly type: 'ExecuteStepFromMessage';
      readonly message: MessageRef;
      readonly queueName: string;
    }
  | { readonly type: 'ExecuteStepFromEvent'; readonly messageEvent: MessageReadyEvent }
  | {
      readonly type: 'SendStepResult';
      readonly step: StepAddress;
      readonly result: StepExecutionResult;
    }
  | {
      readonly type: 'ProcessStepCompletion';
      readonly step: StepAddress;
      readonly result: StepExecutionResult;
      /** Refused when the step has another one. */
      readonly correlationId?: string;
    }
  | { readonly type: 'GetWorkerStatus' }
  | { readonly type: 'SetEventIntegration'; readonly enabled: boolean }
  | { readonly type: 'GetEventStatus' }
  | { readonly type: 'RefreshTemplateCache'; readonly namespace?: string }
  | { readonly type: 'HealthCheck' }
  | { readonly type: 'Shutdown'; readonly graceMs?: number };

export type WorkerCommandType = WorkerCommand['type'];

/** `accepted`: it is claimed here and runs, or will. `duplicate`: somebody took it before. */
export interface StepReceipt {
  readonly messageId: string;
  readonly queueName: string;
  readonly status: 'accepted' | 'duplicate';
  readonly correlationId: string | null;
}

export interface EventReceipt {
  readonly queueName: string;
  /** False: it was shed, and its messages are looked for when there is room. */
  readonly accepted: boolean;
}

/** `held`: the message's handler ends with it. `run`: it went to its run. `unknown`: to nobody. */
export interface ResultReceipt {
  readonly delivered: 'held' | 'run' | 'unknown';
}

export interface WorkerStatus {
  readonly systemId: string;
  readonly workerId: string;
  readonly isRunning: boolean;
  readonly deploymentMode: string;
  readonly namespaces: readonly {
    readonly namespace: string;
    readonly queueName: string;
    readonly running: number;
    readonly buffered: number;
    readonly concurrency: number;
  }[];
  readonly statistics: WorkerEventStatistics;
}

/** Whether steps are left to something outside, and what of that is under way. */
export interface EventIntegrationStatus {
  readonly enabled: boolean;
  /** Steps handed out and not completed. */
  readonly pending: number;
  readonly published: number;
  readonly completed: number;
}

export interface TemplateRefresh {
  /** Templates that were read anew; null: this program gave nothing to refresh them with. */
  readonly refreshed: number | null;
  readonly namespaces: readonly string[];
}

export interface WorkerAnswers {
  readonly ExecuteStep: StepReceipt;
  readonly ExecuteStepWithCorrelation: StepReceipt;
  readonly ExecuteStepFromMessage: StepReceipt;
  readonly ExecuteStepFromEvent: EventReceipt;
  readonly SendStepResult: ResultReceipt;
  readonly ProcessStepCompletion: ResultReceipt;
  readonly GetWorkerStatus: WorkerStatus;
  readonly SetEventIntegration: EventIntegrationStatus;
  readonly GetEventStatus: EventIntegrationStatus;
  readonly RefreshTemplateCache: TemplateRefresh;
  readonly HealthCheck: SystemHealth;
  readonly Shutdown: { readonly stopped: true };
}

export type WorkerAnswer<Command extends WorkerCommand> = WorkerAnswers[Command['type']];

export const workerCommandTypes: readonly WorkerCommandType[] = [
  'ExecuteStep',
  'ExecuteStepWithCorrelation',
  'ExecuteStepFromMessage',
  'ExecuteStepFromEvent',
  'SendStepResult',
  'ProcessStepCompletion',
  'GetWorkerStatus',
  'SetEventIntegration',
  'GetEventStatus',
  'RefreshTemplateCache',
  'HealthCheck',
  'Shutdown',
];
