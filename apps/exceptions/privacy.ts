/**
 * Personal data and secrets in what comes from outside (P9-24): exceptions of source systems, words
 * of people, answers of tools. They are masked before the first write, by names and values that
 * hold for every tenant and by the `piiFields` of the tenant's policy packs. What stages publish
 * is made of events that were masked before, so it is not looked through again.
 */
import type { Millrace, RedactionOptions, RedactionRules } from 'millrace';
import {
  ApprovalDecided,
  CommentAdded,
  ExceptionIngested,
  ManualExceptionCreated,
  PlaybookStepCompletionRequested,
  ToolExecutionCompleted,
  ToolExecutionFailed,
} from './events.ts';
import type { Packs } from './packs/load.ts';

const foreignEvents = [
  ExceptionIngested,
  ManualExceptionCreated,
  CommentAdded,
  ApprovalDecided,
  PlaybookStepCompletionRequested,
  ToolExecutionCompleted,
  ToolExecutionFailed,
] as const;

/** Members that are personal in any domain; their values need not look like anything. */
const personalFields = [
  'email',
  'emailAddress',
  'phone',
  'phoneNumber',
  'mobile',
  'mobileNumber',
  'firstName',
  'lastName',
  'fullName',
  'middleName',
  'maidenName',
  'customerName',
  'patientName',
  'cardholderName',
  'accountHolderName',
  'dateOfBirth',
  'birthDate',
  'dob',
  'ssn',
  'socialSecurityNumber',
  'nationalId',
  'passportNumber',
  'driversLicense',
  'homeAddress',
  'streetAddress',
  'cardNumber',
  'cvv',
  'cvc',
  'pin',
  'iban',
] as const;

/** Identities: the pipeline finds exceptions by them, and the audit trail names who decided. */
const identities = [
  '$.exceptionId',
  '$.tenantId',
  '$.approvalId',
  '$.executionId',
  '$.user',
  '$.author',
  '$.actorId',
  '$.createdBy',
  'exception.exceptionId',
  'run.*',
  'rawPayload.exceptionId',
  'rawPayload.tenantId',
] as const;

/** Where the events above carry what came from outside. */
const roots = ['rawPayload', 'output', 'exception.context'] as const;

/** Masks from now on; before the first exception is accepted. */
export function redactForeignData(mill: Millrace, packs: Packs): void {
  const types = foreignEvents.map(({ type }) => type);
  mill.redaction.use(types, redactionOf(packs));
}

function redactionOf(packs: Packs): RedactionOptions {
  const everyone = rulesOf(packs, '*');
  return {
    default: {
      ...everyone,
      fields: [...personalFields, ...(everyone.fields ?? [])],
      keep: [...identities, ...(everyone.keep ?? [])],
      names: 'mask',
    },
    tenants: Object.fromEntries(packs.tenants.map((tenant) => [tenant, rulesOf(packs, tenant)])),
  };
}

/** Of every domain that the tenant has a policy for, together. */
function rulesOf(packs: Packs, tenantId: string): RedactionRules {
  const policies = packs.domains.flatMap((domain) => packs.scope(tenantId, domain)?.policy ?? []);
  return {
    fields: policies.flatMap(({ piiFields }) => piiFields.flatMap(inPayload)),
    keep: policies.flatMap(({ piiKeep }) => piiKeep.flatMap(inPayload)),
  };
}

/** Packs write paths from the payload of the source. */
function inPayload(field: string): readonly string[] {
  const isPath = field.includes('.') && !field.startsWith('**');
  return isPath ? roots.map((root) => `${root}.${field}`) : [field];
}
