/** Rules between fields: each of them is right by itself, and together they make no sense. */
import { suggestName } from '../nearest-name.ts';
import type { TemplateProblem } from './graph.ts';
import type { JsonObject } from './template.ts';
import type { OverriddenStep } from './template-environment.ts';
import type { Place } from './template-field.ts';
import type { Partly, ReadRetry, ReadStep, ReadTemplate } from './template-read.ts';

type Complain = (path: Place, message: string, hint: string | null) => void;

/** Parts that could not be read are passed over: they are reported already. */
export function checkTemplateRules(
  template: Partly<ReadTemplate>,
  overridden: readonly OverriddenStep[],
  problems: TemplateProblem[],
): void {
  const complain: Complain = (path, message, hint) => problems.push({ path, message, hint });
  checkDomainEvents(template, complain);
  checkLimits(template, complain);
  checkKey(template, complain);
  const { steps = [], namespace_name: namespace } = template;
  steps.forEach((step, no) => {
    if (step === null) return;
    checkBatch(step, no, complain);
    checkPlaceOfWork(step, no, namespace, complain);
    checkEvents(step, no, complain);
    checkInstanceName(step, no, steps, complain);
  });
  for (const { step, retryPath } of overridden) checkRetry(step.retry, retryPath, complain);
}

function checkDomainEvents({ domain_events = [] }: Partly<ReadTemplate>, complain: Complain): void {
  const seen = new Set<string>();
  domain_events.forEach((event, at) => {
    const name = event?.name;
    if (name === undefined) return;
    if (seen.has(name)) {
      complain(['domain_events', at, 'name'], `declares '${name}' again`, 'Keep one declaration.');
    }
    seen.add(name);
  });
}

function checkLimits({ concurrency, rate }: Partly<ReadTemplate>, complain: Complain): void {
  if (concurrency !== undefined) {
    const { key, limit, total_limit: total } = concurrency;
    if (key === undefined && limit === undefined && total === undefined) {
      complain(['concurrency'], 'says nothing', 'Write limit, or key and limit.');
    } else if (key === undefined && total !== undefined) {
      const hint = 'Without a key limit is that of all runs: write limit.';
      complain(['concurrency', 'total_limit'], 'needs a key beside it', hint);
    } else if (limit !== undefined && total !== undefined && total < limit) {
      const message = `is ${total}, below limit ${limit} of one key`;
      complain(['concurrency', 'total_limit'], message, 'Raise it or leave it out.');
    }
  }
  if (rate?.scope === 'key' && concurrency?.key === undefined) {
    complain(['rate', 'scope'], "is 'key', and there is none", 'Add concurrency: { key: … }.');
  }
}

/** A closed input schema says whether there can be anything at the key's path. */
function checkKey({ concurrency, input_schema }: Partly<ReadTemplate>, complain: Complain): void {
  let schema = input_schema as JsonObject | undefined;
  for (const name of concurrency?.key?.split('.') ?? []) {
    const properties = schema?.properties as JsonObject | undefined;
    if (typeof properties !== 'object' || properties === null) return;
    if (!Object.hasOwn(properties, name)) {
      if (schema?.additionalProperties !== false) return;
      complain(
        ['concurrency', 'key'],
        `names '${name}', which input_schema does not allow`,
        suggestName(name, Object.keys(properties)),
      );
      return;
    }
    schema = properties[name] as JsonObject | undefined;
  }
}

function checkBatch(
  { type, batch_config, name }: Partly<ReadStep>,
  no: number,
  complain: Complain,
) {
  if (type === undefined) return;
  if (type === 'batchable' && batch_config === undefined) {
    complain(
      ['steps', no, 'type'],
      `batchable step '${name ?? no}' has no batch_config`,
      'Add batch_config: { worker_template: <name of a batch_worker step> }.',
    );
  }
  if (type !== 'batchable' && batch_config !== undefined) {
    const hint = 'Set type: batchable, or remove batch_config.';
    complain(['steps', no, 'batch_config'], `belongs to a batchable step, not a ${type} one`, hint);
  }
}

function checkPlaceOfWork(
  { namespace, transactional, name }: Partly<ReadStep>,
  no: number,
  own: string | undefined,
  complain: Complain,
): void {
  if (!transactional || namespace === undefined || namespace === own) return;
  complain(
    ['steps', no, 'transactional'],
    `'${name ?? no}' runs in the namespace ${namespace}, apart from its run's transaction`,
    'Remove namespace or transactional.',
  );
}

function checkEvents({ publishes_events = [] }: Partly<ReadStep>, no: number, complain: Complain) {
  const seen = new Set<string>();
  publishes_events.forEach((event, at) => {
    const id = `${event?.name} ${event?.condition}`;
    if (event?.name !== undefined && seen.has(id)) {
      complain(
        ['steps', no, 'publishes_events', at, 'name'],
        `publishes '${event.name}' on ${event.condition} a second time`,
        'Keep one of them.',
      );
    }
    seen.add(id);
  });
}

/** Batches are steps named `<worker>_001`, `<worker>_002`, …: no other step may be called so. */
function checkInstanceName(
  { name }: Partly<ReadStep>,
  no: number,
  steps: readonly (Partly<ReadStep> | null)[],
  complain: Complain,
): void {
  const worker = /^(.+)_\d{3,}$/.exec(name ?? '')?.[1];
  const taken = steps.some((step) => step?.name === worker && step?.type === 'batch_worker');
  if (worker === undefined || !taken) return;
  const message = `is what a batch of '${worker}' will be called`;
  complain(['steps', no, 'name'], message, 'Rename the step.');
}

function checkRetry(retry: Partly<ReadRetry> | undefined, path: Place, complain: Complain): void {
  const { backoff_base_ms: base, max_backoff_ms: most } = retry ?? {};
  if (base === undefined || most === undefined || base <= most) return;
  complain(
    [...path, 'max_backoff_ms'],
    `is ${most}, below backoff_base_ms ${base}`,
    'Raise it, lower backoff_base_ms, or leave it out.',
  );
}
