/**
 * What differs between the places where a Kafka runs, as one table. A URL's scheme chooses a row;
 * nothing else in the driver asks which service it talks to, only for the limits written here.
 */

export type Mechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER';

/** How we prove who we are. 'none': by a password or token where one is given. */
export type Proof = 'none' | 'password' | 'connection-string' | 'aws';

export interface KafkaPreset {
  readonly name: 'kafka' | 'kafka-tls' | 'eventhubs' | 'msk' | 'confluent';
  /** Without `://`. */
  readonly schemes: readonly string[];
  /** Where the URL names none. */
  readonly port: number;
  readonly tls: boolean;
  /** What is used without `?mechanism=`, where there is something to prove. */
  readonly mechanism: Mechanism;
  /** What the service wants when the URL says nothing else. */
  readonly proof: Proof;
  /** Of one event as the service takes it, bytes; null: the broker is asked. */
  readonly eventBytesMax: number | null;
  /** Null: the newest that the broker offers. */
  readonly groupProtocol: 'classic' | null;
  /** Topics may be made over the Kafka protocol. */
  readonly createsTopics: boolean;
  /** Copies of a partition when nobody says how many; null: the broker's own default. */
  readonly replicas: number | null;
  /** For people: how it slows us down, and what else is special. */
  readonly notes: string;
}

const MiB = 1_048_576;

export const kafkaPresets: readonly KafkaPreset[] = [
  {
    name: 'kafka',
    schemes: ['kafka'],
    port: 9092,
    tls: false,
    mechanism: 'PLAIN',
    proof: 'none',
    eventBytesMax: null,
    groupProtocol: null,
    createsTopics: true,
    replicas: null,
    notes: 'Quotas of the broker delay its answers; publishing slows down and nothing is lost.',
  },
  {
    name: 'kafka-tls',
    schemes: ['kafkas', 'kafka+ssl'],
    port: 9093,
    tls: true,
    mechanism: 'PLAIN',
    proof: 'none',
    eventBytesMax: null,
    groupProtocol: null,
    createsTopics: true,
    replicas: null,
    notes: 'Quotas of the broker delay its answers; publishing slows down and nothing is lost.',
  },
  {
    name: 'eventhubs',
    schemes: ['eventhubs'],
    port: 9093,
    tls: true,
    mechanism: 'PLAIN',
    proof: 'connection-string',
    // Standard and premium; basic has no Kafka endpoint, dedicated takes more.
    eventBytesMax: MiB,
    groupProtocol: 'classic',
    createsTopics: true,
    replicas: null,
    notes:
      'Throughput units are a quota: above them answers are delayed (throttle time), then ' +
      'refused as busy; both are waited out. Making topics needs the Manage claim.',
  },
  {
    name: 'msk',
    schemes: ['msk'],
    port: 9098,
    tls: true,
    mechanism: 'OAUTHBEARER',
    proof: 'aws',
    eventBytesMax: null,
    groupProtocol: 'classic',
    createsTopics: true,
    replicas: null,
    notes:
      'IAM allows a limited rate of new connections per broker; tokens live 15 minutes and ' +
      'are renewed before. With user and password in the URL it is SCRAM-SHA-512 on port 9096.',
  },
  {
    name: 'confluent',
    schemes: ['confluent'],
    port: 9092,
    tls: true,
    mechanism: 'PLAIN',
    proof: 'password',
    // max.message.bytes of a new topic there.
    eventBytesMax: 2 * MiB,
    groupProtocol: null,
    createsTopics: true,
    replicas: 3,
    notes: 'The cluster type limits throughput; answers are delayed above it.',
  },
];

export function presetOf(scheme: string): KafkaPreset | null {
  return kafkaPresets.find((preset) => preset.schemes.includes(scheme)) ?? null;
}
