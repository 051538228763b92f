/**
 * The shape of domain packs and tenant policy packs, as people write them in YAML. Unknown members
 * are refused, so that a misspelt guardrail is an error and not a guardrail that is off. Defaults
 * are filled in here; what refers to something else (a tool, a field) is checked by compile.ts.
 */
import { z } from 'zod';
import { severitySchema } from '../vocabulary.ts';

const name = z.string().min(1).max(128);
const names = z.array(z.string().min(1)).default([]);
const positive = z.number().positive();
const retries = z.number().int().min(0).max(10);

export const attributeTypes = [
  'string',
  'number',
  'integer',
  'boolean',
  'date',
  'object',
  'list',
] as const;
export type AttributeType = (typeof attributeTypes)[number];

const attribute = z.union([
  z.enum(attributeTypes),
  z.strictObject({ type: z.enum(attributeTypes), description: z.string().optional() }),
]);

const entity = z.strictObject({
  description: z.string().optional(),
  attributes: z.record(name, attribute).default({}),
  relations: z
    .array(z.strictObject({ name, target: name, kind: z.enum(['one', 'many']).default('one') }))
    .default([]),
});

/** A CEL expression over `exception` and `payload`; see expression.ts. */
const severityRule = z.strictObject({
  name: z.string().optional(),
  condition: z.string().min(1),
  severity: severitySchema,
});

/** Minutes until the deadline, by severity. */
const slaMinutes = z.strictObject({
  LOW: positive.default(2_880),
  MEDIUM: positive.default(1_440),
  HIGH: positive.default(240),
  CRITICAL: positive.default(60),
});

const exceptionType = z.strictObject({
  description: z.string().default(''),
  /** Policy tags, which playbooks may require. */
  tags: names,
  /** CEL over the raw payload: infers this type when the source names none. */
  detectionRules: z.array(z.string().min(1)).default([]),
  severityRules: z.array(severityRule).default([]),
  slaMinutes: slaMinutes.partial().optional(),
});

/** The part of JSON Schema that tools' payloads and answers are checked with. */
export interface JsonSchema {
  readonly type?: 'object' | 'array' | 'string' | 'number' | 'integer' | 'boolean' | 'null';
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly enum?: readonly (string | number | boolean | null)[];
  readonly additionalProperties?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
}

const jsonSchema: z.ZodType<JsonSchema> = z.lazy(() =>
  z.strictObject({
    type: z.enum(['object', 'array', 'string', 'number', 'integer', 'boolean', 'null']).optional(),
    description: z.string().optional(),
    properties: z.record(z.string(), jsonSchema).optional(),
    required: z.array(z.string()).optional(),
    items: jsonSchema.optional(),
    enum: z.array(z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
    additionalProperties: z.boolean().optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    minLength: z.number().optional(),
    maxLength: z.number().optional(),
  }),
);

export const toolSchema = z.strictObject({
  description: z.string().default(''),
  type: z.enum(['http', 'rest', 'webhook', 'email', 'workflow', 'dummy']).default('dummy'),
  version: z.string().default('1.0.0'),
  /** `parameters` is the older word for the input schema; give one of the two. */
  parameters: jsonSchema.optional(),
  inputSchema: jsonSchema.optional(),
  outputSchema: jsonSchema.optional(),
  authType: z.enum(['none', 'api_key', 'oauth_stub']).default('none'),
  /** Name of the environment variable with the API key or the webhook's secret. */
  secretEnv: z.string().optional(),
  /** Short for endpointConfig.url. */
  endpoint: z.string().optional(),
  endpointConfig: z
    .strictObject({
      url: z.string(),
      method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).default('POST'),
      headers: z.record(z.string(), z.string()).default({}),
      timeout: positive.optional(),
    })
    .optional(),
  tenantScope: z.enum(['global', 'tenant']).default('tenant'),
  /** `queue` of the original is not offered: a handler of the event does the same, durably. */
  executionMode: z.enum(['simulate', 'http', 'webhook']).default('simulate'),
  simulateProfile: z.enum(['success', 'fail', 'delayed', 'flaky']).default('success'),
  timeoutSeconds: positive.max(600).default(30),
  maxRetries: retries.default(3),
  /** Hosts that may be called; `*.example.org` covers subdomains. Empty: the endpoint's host. */
  allowedDomains: names,
  /** Permits plain http. Only https otherwise. */
  allowHttp: z.boolean().default(false),
  /** Permits private and loopback addresses, for tools inside one's own network. */
  allowPrivate: z.boolean().default(false),
  /** The tool that takes back what this one did. Without it a name is looked for. */
  rollback: z.string().optional(),
});

const match = z.strictObject({
  domain: z.string().optional(),
  /** Case does not matter; `*` and `?` are wildcards. */
  exceptionType: z.string().optional(),
  exceptionTypes: z.array(z.string()).min(1).optional(),
  severity: severitySchema.optional(),
  severityIn: z.array(severitySchema).min(1).optional(),
  slaMinutesRemainingLt: z.number().optional(),
  /** All of them are required. */
  policyTags: z.array(z.string()).min(1).optional(),
});

const step = z.strictObject({
  stepId: z.string().optional(),
  name: z.string().optional(),
  description: z.string().optional(),
  action: name,
  parameters: z.record(z.string(), z.unknown()).default({}),
});

const playbook = z.strictObject({
  id: name,
  name: z.string().optional(),
  description: z.string().optional(),
  /** Short for conditions.match.exceptionType. */
  exceptionType: z.string().optional(),
  conditions: z
    .strictObject({
      match: match.default({}),
      /** CEL, in addition to the match. */
      when: z.string().optional(),
      priority: z.number().default(0),
    })
    .optional(),
  /** An approved process may run without a person, as far as the guardrails allow. */
  approved: z.boolean().default(true),
  steps: z.array(step).min(1),
});

const guardrailFields = {
  /** Tool names with wildcards; when given, only these tools may be called. */
  allowLists: z.array(z.string()),
  /** Tool names with wildcards that are never called: a playbook with one of them is blocked. */
  blockLists: z.array(z.string()),
  humanApprovalThreshold: z.number().min(0).max(1),
  noAutoActionIfSeverityIn: z.array(severitySchema),
  autoActionAllowedOnlyForApprovedPlaybooks: z.boolean(),
  /** Exception types, tools or playbook ids, with wildcards. */
  requireHumanApprovalFor: z.array(z.string()),
  maxAutoRetries: retries,
  escalateIfConfidenceBelow: z.number().min(0).max(1),
};

const guardrails = z.strictObject({
  allowLists: guardrailFields.allowLists.default([]),
  blockLists: guardrailFields.blockLists.default([]),
  humanApprovalThreshold: guardrailFields.humanApprovalThreshold.default(0.8),
  noAutoActionIfSeverityIn: guardrailFields.noAutoActionIfSeverityIn.default([]),
  autoActionAllowedOnlyForApprovedPlaybooks:
    guardrailFields.autoActionAllowedOnlyForApprovedPlaybooks.default(true),
  requireHumanApprovalFor: guardrailFields.requireHumanApprovalFor.default([]),
  maxAutoRetries: guardrailFields.maxAutoRetries.default(10),
  escalateIfConfidenceBelow: guardrailFields.escalateIfConfidenceBelow.default(0),
});
export type Guardrails = Readonly<z.infer<typeof guardrails>>;

const testCase = z.strictObject({
  name: z.string().optional(),
  /** The tenant whose policy applies; `*` by default. */
  tenantId: z.string().default('*'),
  input: z.strictObject({
    exceptionType: z.string().optional(),
    severity: severitySchema.optional(),
    payload: z.record(z.string(), z.unknown()),
  }),
  expectedOutput: z.strictObject({
    exceptionType: z.string().optional(),
    severity: severitySchema.optional(),
    decision: z.string().optional(),
    playbookId: z.string().nullable().optional(),
    /** The tail of the flow when all automatic steps have run. */
    outcome: z.enum(['RESOLVED', 'ESCALATED', 'PENDING_APPROVAL', 'WAITING']).optional(),
  }),
});

export const domainPackSchema = z.strictObject({
  domainName: name,
  description: z.string().optional(),
  version: z.string().default('1.0.0'),
  slaMinutes: slaMinutes.prefault({}),
  entities: z.record(name, entity).default({}),
  /** Payload fields holding the amount and the entity, first hit wins. */
  amountFields: z.array(name).default(['amount']),
  entityFields: z.array(name).default(['entity']),
  exceptionTypes: z.record(name, exceptionType),
  severityRules: z.array(severityRule).default([]),
  tools: z.record(name, toolSchema).default({}),
  playbooks: z.array(playbook).default([]),
  guardrails: guardrails.prefault({}),
  testSuites: z.array(testCase).default([]),
});
export type DomainPack = Readonly<z.infer<typeof domainPackSchema>>;
export type ToolSpec = DomainPack['tools'][string];
export type PlaybookSpec = DomainPack['playbooks'][number];
export type TestCase = DomainPack['testSuites'][number];

export const policyPackSchema = z.strictObject({
  /** `*` is the policy of every tenant that has none of its own for the domain. */
  tenantId: name,
  domainName: name,
  policyTags: names,
  customSeverityOverrides: z
    .array(z.strictObject({ exceptionType: z.string(), severity: severitySchema }))
    .default([]),
  customGuardrails: z.strictObject(guardrailFields).partial().default({}),
  approvedTools: names,
  toolOverrides: z
    .record(
      name,
      z.strictObject({
        timeoutSeconds: positive.max(600).optional(),
        maxRetries: retries.optional(),
      }),
    )
    .default({}),
  humanApprovalRules: z
    .array(z.strictObject({ severity: severitySchema, requireApproval: z.boolean() }))
    .default([]),
  slaImminentShare: z.number().gt(0).lt(1).default(0.8),
  retentionPolicies: z
    .strictObject({ dataTTL: z.number().int().positive() })
    .default({ dataTTL: 365 }),
  /**
   * Payload fields that are personal: names at any depth or paths, masked before anything is
   * stored. Beside those that every tenant has (privacy.ts).
   */
  piiFields: names,
  /** Payload fields that are stored as they are although they look personal. */
  piiKeep: names,
  customPlaybooks: z.array(playbook).default([]),
  /** For the agents' language models; rules do not read it. */
  embeddingConfig: z.record(z.string(), z.unknown()).optional(),
  notificationPolicies: z
    .strictObject({
      channels: names,
      recipientsByGroup: z.record(name, z.array(z.string())).default({}),
      /** By channel: where a notification is posted to, as JSON with a `text`. */
      webhookUrls: z.record(name, z.url({ protocol: /^https$/ })).default({}),
      /** For a sender of mail, which reads PlaybookStepCompleted; this pipeline sends none. */
      smtpConfig: z.record(z.string(), z.unknown()).optional(),
    })
    .prefault({}),
});
export type PolicyPack = Readonly<z.infer<typeof policyPackSchema>>;
