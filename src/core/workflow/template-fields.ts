/**
 * Every field of a task template: what it is for, what it may hold, what it is by default, which
 * wrong spellings are known. The names are those of the original; ours are marked in the docs.
 */
import { stepTypes, workflowLimits } from './graph.ts';
import { identityStrategies } from './identity.ts';
import { backoffNames, deliveryModes, failureStrategies, publishConditions } from './template.ts';
import type { Field, ObjectField } from './template-field.ts';

const name = { kind: 'text', pattern: /^[A-Za-z][A-Za-z0-9_.-]{0,62}$/ } as const;
const nameRule = 'A letter, then letters, digits, _ . and -, at most 63 in all.';
const eventName = {
  kind: 'text',
  pattern: /^[a-z0-9_]+(\.[a-z0-9_]+)+$/,
  max: 128,
  rule: 'Two words or more of a-z, 0-9 and _, joined by dots, such as payment.charged.',
  example: 'payment.charged',
} as const;
const text = { kind: 'text' } as const;

function object(about: string, rest: Omit<ObjectField, 'kind' | 'about'>): ObjectField {
  return { kind: 'object', about, ...rest };
}

const initialization: Field = {
  kind: 'json',
  object: true,
  fallback: {},
  about: 'Configuration of the handler; it gets it as stepConfig.',
};

function handler(about: string, required: boolean): ObjectField {
  return object(about, {
    ...(required && { required: true, example: { callable: 'charge_card' } }),
    fields: {
      callable: {
        ...text,
        max: 255,
        required: true,
        about: 'Name of a handler that is registered in the process.',
        example: 'Payments::ChargeCardHandler',
      },
      method: { ...text, max: 100, about: "Method of a class handler; 'call' when absent." },
      resolver: { ...text, max: 100, about: 'How the callable is found; by name when absent.' },
      initialization,
    },
    wrong: {
      class: 'Write callable.',
      handler_class: 'Write callable.',
      name: 'Write callable.',
      config: 'Write initialization.',
      handler_config: 'Write initialization.',
      init: 'Write initialization.',
    },
  });
}

const retry: ObjectField = object('When a failed step is tried again.', {
  fallback: {},
  fields: {
    retryable: { kind: 'flag', fallback: true, about: 'Whether it is tried again at all.' },
    max_attempts: {
      kind: 'whole',
      from: 1,
      to: 100,
      fallback: 3,
      about: 'Tries in all, the first one counts.',
    },
    backoff: {
      kind: 'word',
      words: backoffNames,
      fallback: 'exponential',
      about: 'How the wait between tries grows.',
      wrong: {
        fixed: 'Use linear with max_backoff_ms equal to backoff_base_ms.',
        constant: 'Use linear with max_backoff_ms equal to backoff_base_ms.',
      },
    },
    backoff_base_ms: {
      kind: 'whole',
      from: 100,
      to: 3_600_000,
      fallback: 1_000,
      about: 'Milliseconds before the second try.',
    },
    max_backoff_ms: {
      kind: 'whole',
      from: 100,
      to: 86_400_000,
      about: 'Most milliseconds between two tries; 30,000 or backoff_base_ms when absent.',
    },
  },
  wrong: {
    limit: 'Write max_attempts; it counts the first try.',
    retry_limit: 'Write max_attempts; it counts the first try.',
    max_retries: 'Write max_attempts; it counts the first try.',
    attempts: 'Write max_attempts; it counts the first try.',
    strategy: 'Write backoff.',
    backoff_strategy: 'Write backoff.',
    backoff_type: 'Write backoff.',
    base_ms: 'Write backoff_base_ms.',
    backoff_ms: 'Write backoff_base_ms.',
    initial_delay_ms: 'Write backoff_base_ms.',
    max_delay_ms: 'Write max_backoff_ms.',
    backoff_max_ms: 'Write max_backoff_ms.',
    jitter: 'Remove it: every wait has some jitter.',
  },
});

const timeoutSeconds: Field = {
  kind: 'number',
  from: 0.001,
  to: 2_592_000,
  about: 'Seconds one try may take; its signal is aborted then. Absent: no limit.',
};

const publishedEvent: ObjectField = object('A domain event that the step publishes.', {
  fields: {
    name: { ...eventName, required: true, about: 'Its name.' },
    description: { ...text, about: 'When it is published, for people.' },
    schema: {
      kind: 'schema',
      about: 'JSON Schema of its payload; that of domain_events when absent.',
    },
    delivery: {
      kind: 'word',
      words: deliveryModes,
      synonyms: { fast: 'fire_and_forget' },
      alias: 'delivery_mode',
      about: 'How it reaches subscribers; the default of the process when absent.',
      wrong: {
        exactly_once: 'Write acknowledged.',
        at_least_once: 'Write durable.',
        best_effort: 'Write fire_and_forget.',
      },
    },
    condition: {
      kind: 'word',
      words: publishConditions,
      fallback: 'success',
      about: 'After which outcome of the step it is published.',
    },
    publisher: { ...text, max: 255, about: 'Name of a publisher that shapes the payload.' },
  },
  wrong: {
    event: 'Write name.',
    mode: 'Write delivery.',
    when: 'Write condition.',
    payload_schema: 'Write schema.',
    payload: 'Write schema; the handler gives the payload.',
  },
});

const batchConfig: ObjectField = object('How a batchable step divides its work.', {
  fields: {
    batch_size: {
      kind: 'whole',
      from: 1,
      to: 10_000_000,
      fallback: 1_000,
      about: 'Items of a batch.',
    },
    parallelism: { kind: 'whole', from: 1, to: 10_000, fallback: 10, about: 'Batches at a time.' },
    cursor_field: { ...text, max: 255, fallback: 'id', about: 'Field by which items are ordered.' },
    worker_template: {
      ...name,
      required: true,
      rule: nameRule,
      about: 'Name of the batch_worker step.',
      example: 'process_batch',
    },
    failure_strategy: {
      kind: 'word',
      words: failureStrategies,
      fallback: 'continue_on_failure',
      about: 'What a failed batch means for the others.',
      wrong: { continue: 'Write continue_on_failure.', stop: 'Write fail_fast.' },
    },
  },
  wrong: {
    size: 'Write batch_size.',
    worker: 'Write worker_template.',
    worker_template_name: 'Write worker_template.',
    max_parallel: 'Write parallelism.',
  },
});

const underRetry = 'Write it under retry, as max_attempts; it counts the first try.';

const step: ObjectField = object('One step.', {
  fields: {
    name: {
      kind: 'text',
      pattern: /^[A-Za-z][A-Za-z0-9_-]{0,99}$/,
      rule: 'A letter, then letters, digits, _ and -, at most 100 in all.',
      required: true,
      about: 'Unique in the template.',
      example: 'charge_card',
    },
    description: { ...text, about: 'For people.' },
    type: {
      kind: 'word',
      words: stepTypes,
      fallback: 'standard',
      alias: 'step_type',
      about: 'What kind of step it is.',
      wrong: {
        deferred: 'Write deferred_convergence.',
        convergence: 'Write deferred_convergence.',
        decision_point: 'Write decision.',
        batch: 'Write batchable.',
        batch_analyzer: 'Write batchable.',
        worker: 'Write batch_worker.',
      },
    },
    handler: handler('What does the work.', true),
    namespace: {
      ...name,
      rule: nameRule,
      about: 'Namespace whose workers run it; where the run is when absent.',
    },
    system_dependency: { ...text, max: 100, about: 'System that it needs, for people.' },
    dependencies: {
      kind: 'list',
      item: { ...text, max: 100, about: 'Name of a step.' },
      fallback: [],
      alias: 'depends_on',
      about: 'Steps that must be done before it.',
      example: ['validate_order'],
    },
    retry,
    timeout_seconds: timeoutSeconds,
    publishes_events: {
      kind: 'list',
      item: publishedEvent,
      most: 100,
      fallback: [],
      about: 'Domain events that it may publish.',
    },
    batch_config: batchConfig,
    result_schema: { kind: 'schema', about: 'JSON Schema of what the handler answers.' },
    composition: {
      kind: 'json',
      object: false,
      about: 'Kept as it is; the engine does not read it.',
    },
    compensate: handler('Undoes the step when the run fails for good.', false),
    transactional: {
      kind: 'flag',
      fallback: false,
      about: 'The handler gets a transaction that commits with its result.',
    },
  },
  wrong: {
    depends_on_step: 'Write dependencies: [name].',
    depends_on_steps: 'Write dependencies.',
    depends: 'Write dependencies.',
    needs: 'Write dependencies.',
    after: 'Write dependencies.',
    callable: 'Write handler: { callable: … }.',
    handler_class: 'Write handler: { callable: … }.',
    handler_config: 'Write handler: { initialization: { … } }.',
    retry_limit: underRetry,
    max_attempts: underRetry,
    max_retries: underRetry,
    retries: underRetry,
    retryable: 'Write it under retry.',
    default_retryable: 'Write it under retry, as retryable.',
    default_retry_limit: underRetry,
    backoff: 'Write it under retry.',
    timeout: 'Write timeout_seconds.',
    timeout_ms: 'Write timeout_seconds; 0.5 is half a second.',
    custom_events: 'Write publishes_events.',
    events: 'Write publishes_events.',
    dependent_system: 'Write system_dependency.',
    input_schema: 'The input belongs to the run: write it at the top of the template.',
    namespace_name: 'Write namespace for a step that runs elsewhere.',
  },
});

const minutes = (to: number, usual: number, about: string): Field => ({
  kind: 'whole',
  from: 1,
  to,
  about: `${about} As configured when absent: ${usual}.`,
});

const lifecycle: ObjectField = object('When an open run counts as stale, and what happens then.', {
  fallback: {},
  fields: {
    max_duration_minutes: minutes(43_200, 1_440, 'From start to end.'),
    max_waiting_for_dependencies_minutes: minutes(10_080, 60, 'In waiting_for_dependencies.'),
    max_waiting_for_retry_minutes: minutes(10_080, 30, 'In waiting_for_retry.'),
    max_steps_in_process_minutes: minutes(10_080, 30, 'In steps_in_process.'),
    staleness_action: {
      kind: 'word',
      words: ['dlq'],
      fallback: 'dlq',
      about: 'An investigation is opened for a stale run.',
    },
    auto_fail_on_timeout: {
      kind: 'flag',
      about: 'A stale run ends in error. As configured when absent: false.',
    },
    auto_dlq_on_timeout: {
      kind: 'flag',
      about: 'A stale run gets an investigation. As configured when absent: true.',
    },
  },
  wrong: {
    max_duration: 'Write max_duration_minutes.',
    timeout_minutes: 'Write max_duration_minutes.',
  },
});

const override: ObjectField = object('What differs in one step.', {
  fields: {
    name: { ...text, max: 100, required: true, about: 'A step, or ALL.', example: 'ALL' },
    handler: object('Merged into that of the step.', { fields: { initialization } }),
    timeout_seconds: timeoutSeconds,
    retry,
  },
});

/** The whole template. */
export const templateField: ObjectField = object('A task template of Millrace.', {
  free: 'x-',
  fields: {
    name: {
      ...name,
      rule: nameRule,
      required: true,
      about: 'Of the workflow.',
      example: 'process_payment',
    },
    namespace_name: {
      ...name,
      rule: nameRule,
      fallback: 'default',
      about: 'Its runs wait in the queue {namespace}_queue.',
    },
    version: {
      kind: 'text',
      pattern: /^[A-Za-z0-9][A-Za-z0-9.+_-]{0,49}$/,
      rule: 'Digits, letters, . + _ and -, such as 1.0.0, at most 50 in all.',
      fallback: '1.0.0',
      about: 'Runs keep the version that they began with.',
    },
    description: { ...text, about: 'For people.' },
    metadata: object('For people; the engine does not read it.', {
      fallback: {},
      fields: {
        author: { ...text, about: 'Who wrote it.' },
        tags: {
          kind: 'list',
          item: { ...text, about: 'A tag.' },
          fallback: [],
          about: 'To find it by.',
        },
        documentation_url: { ...text, about: 'Where it is explained.' },
        created_at: { ...text, about: 'When it was written.' },
        updated_at: { ...text, about: 'When it was changed.' },
      },
    }),
    system_dependencies: object('Systems that its steps need.', {
      fallback: {},
      fields: {
        primary: { ...text, max: 100, fallback: 'default', about: 'Of steps that name none.' },
        secondary: {
          kind: 'list',
          item: { ...text, about: 'A system.' },
          fallback: [],
          about: 'Others.',
        },
      },
    }),
    domain_events: {
      kind: 'list',
      fallback: [],
      most: 1_000,
      about: 'Domain events that several steps publish, with their schemas.',
      item: object('A domain event.', {
        fields: {
          name: { ...eventName, required: true, about: 'Its name.' },
          description: { ...text, about: 'What it says, for people.' },
          schema: { kind: 'schema', about: 'JSON Schema of its payload.' },
        },
      }),
    },
    input_schema: { kind: 'schema', about: 'JSON Schema of the input of a run.' },
    identity: {
      kind: 'word',
      words: identityStrategies,
      fallback: 'strict',
      about: 'When two requests mean the same run.',
      wrong: { unique: 'Write always_unique.', caller: 'Write caller_provided.' },
    },
    priority: {
      kind: 'whole',
      from: -2_147_483_648,
      to: 2_147_483_647,
      fallback: 0,
      about: 'Smaller runs first.',
    },
    concurrency: object('How many of its runs go on at a time.', {
      fields: {
        key: {
          kind: 'text',
          pattern: /^[^.\s]+(\.[^.\s]+)*$/,
          max: 255,
          rule: 'Names of members of the input, joined by dots, such as customer.id.',
          about: 'Where the key stands in the input; runs of one key share its limit.',
          example: 'customer.id',
        },
        limit: {
          kind: 'whole',
          from: 1,
          to: 1_000_000,
          about: 'Of one key; of all runs without a key.',
        },
        total_limit: { kind: 'whole', from: 1, to: 1_000_000, about: 'Of all runs, beside a key.' },
      },
    }),
    rate: object('How many of its runs begin in a while.', {
      fields: {
        limit: {
          kind: 'whole',
          from: 1,
          to: 1_000_000,
          required: true,
          about: 'Runs.',
          example: 100,
        },
        period_seconds: {
          kind: 'number',
          from: 0.001,
          to: 86_400,
          fallback: 1,
          about: 'The while.',
        },
        scope: {
          kind: 'word',
          words: ['workflow', 'key'],
          fallback: 'workflow',
          about: 'All runs together, or those of one concurrency key.',
        },
      },
    }),
    lifecycle,
    steps: {
      kind: 'list',
      item: step,
      required: true,
      least: 1,
      most: workflowLimits.steps * 10,
      about: 'What is done, each after those that it depends on.',
    },
    environments: {
      kind: 'map',
      fallback: {},
      about: 'What differs where the template is loaded for an environment.',
      value: object('Overrides of one environment.', {
        fields: {
          steps: { kind: 'list', item: override, fallback: [], about: 'ALL first, then by name.' },
        },
      }),
    },
  },
  wrong: {
    identity_strategy: 'Write identity.',
    namespace: 'Write namespace_name.',
    task_name: 'Write name.',
    named_steps: 'Write steps.',
    step_templates: 'Write steps.',
    schema: 'Write input_schema.',
    publishes_events:
      'Write it in the step that publishes, or declare the schema in domain_events.',
    retry: 'Write it in each step, or under environments with name: ALL.',
    timeout_seconds: 'Write it in each step, or under environments with name: ALL.',
    default_dependent_system: 'Write system_dependencies: { primary: … }.',
    concurrency_key: 'Write concurrency: { key: … }.',
  },
});
