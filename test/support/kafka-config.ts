/** The server.properties of a test's Kafka: listeners, logins and certificates by name. */
import type { Certificate } from './certificates.ts';

type Mechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER';

export type KafkaListener =
  | { readonly protocol: 'PLAINTEXT' }
  | {
      readonly protocol: 'SSL';
      readonly certificate: Certificate;
      /** Whether a client certificate is asked for; 'none' by default. */
      readonly clientAuth?: 'none' | 'requested' | 'required';
    }
  | { readonly protocol: 'SASL_PLAINTEXT'; readonly mechanisms: readonly Mechanism[] }
  | {
      readonly protocol: 'SASL_SSL';
      readonly certificate: Certificate;
      readonly mechanisms: readonly Mechanism[];
    };

export interface NodePorts {
  readonly controller: number;
  readonly listeners: ReadonlyMap<string, number>;
}

export interface NodeSettings {
  readonly id: number;
  readonly home: string;
  readonly ports: readonly NodePorts[];
  readonly listeners: Readonly<Record<string, KafkaListener>>;
  /** Which listener the nodes use among themselves. */
  readonly inner: string;
  readonly users?: Readonly<Record<string, string>>;
  readonly trustFile?: string;
  readonly properties?: Readonly<Record<string, string>>;
}

export function serverProperties(settings: NodeSettings): string {
  const lines = new Map<string, string>();
  const set = (values: Readonly<Record<string, string>>) => {
    for (const [name, value] of Object.entries(values)) lines.set(name, value);
  };
  set(clusterLines(settings));
  for (const [name, listener] of Object.entries(settings.listeners)) {
    set(listenerLines(name, listener, settings));
  }
  set(settings.properties ?? {});
  return [...lines].map(([name, value]) => `${name}=${value.replaceAll('\\', '\\\\')}\n`).join('');
}

function clusterLines(settings: NodeSettings): Record<string, string> {
  const { id, home, ports, listeners, inner } = settings;
  const own = ports[id - 1] as NodePorts;
  const addresses = [...own.listeners].map(([name, port]) => `${nameOf(name)}://127.0.0.1:${port}`);
  const protocols = Object.entries(listeners).map(
    ([name, listener]) => `${nameOf(name)}:${listener.protocol}`,
  );
  const replicas = `${Math.min(3, ports.length)}`;
  return {
    'process.roles': 'broker,controller',
    'node.id': `${id}`,
    'controller.quorum.voters': ports
      .map(({ controller }, i) => `${i + 1}@127.0.0.1:${controller}`)
      .join(','),
    listeners: [...addresses, `CONTROLLER://127.0.0.1:${own.controller}`].join(','),
    'advertised.listeners': addresses.join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': nameOf(inner),
    'listener.security.protocol.map': [...protocols, 'CONTROLLER:PLAINTEXT'].join(','),
    'log.dirs': `${home}/data`,
    'num.partitions': '4',
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': '8',
    'transaction.state.log.replication.factor': replicas,
    'default.replication.factor': replicas,
    'min.insync.replicas': ports.length > 1 ? '2' : '1',
    'group.initial.rebalance.delay.ms': '0',
    'auto.create.topics.enable': 'false',
    // Fewer threads and smaller buffers than a server of its own would have.
    'num.network.threads': '2',
    'num.io.threads': '3',
    // A killed node may come back, and is missed, after this long.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
  };
}

function nameOf(listener: string): string {
  return listener.toUpperCase();
}

function listenerLines(
  name: string,
  listener: KafkaListener,
  { users = {}, trustFile }: NodeSettings,
): Record<string, string> {
  const prefix = `listener.name.${name.toLowerCase()}`;
  const lines: Record<string, string> = {};
  if ('certificate' in listener) {
    lines[`${prefix}.ssl.keystore.type`] = 'PEM';
    lines[`${prefix}.ssl.keystore.location`] = listener.certificate.store;
    if (trustFile !== undefined) {
      lines[`${prefix}.ssl.truststore.type`] = 'PEM';
      lines[`${prefix}.ssl.truststore.location`] = trustFile;
    }
    if ('clientAuth' in listener && listener.clientAuth !== undefined) {
      lines[`${prefix}.ssl.client.auth`] = listener.clientAuth;
    }
  }
  if ('mechanisms' in listener) {
    lines[`${prefix}.sasl.enabled.mechanisms`] = listener.mechanisms.join(',');
    for (const mechanism of listener.mechanisms) {
      lines[`${prefix}.${mechanism.toLowerCase()}.sasl.jaas.config`] = loginModule(
        mechanism,
        users,
      );
    }
  }
  return lines;
}

const security = 'org.apache.kafka.common.security';

function loginModule(mechanism: Mechanism, users: Readonly<Record<string, string>>): string {
  if (mechanism === 'PLAIN') {
    const known = Object.entries(users).map(([user, password]) => `user_${user}="${password}"`);
    return `${security}.plain.PlainLoginModule required ${known.join(' ')};`;
  }
  if (mechanism === 'OAUTHBEARER') {
    // Unsecured tokens (JWS without a signature): what the server takes without a key server.
    const module = `${security}.oauthbearer.OAuthBearerLoginModule required`;
    return `${module} unsecuredLoginStringClaim_sub="server";`;
  }
  return `${security}.scram.ScramLoginModule required;`;
}

/** For `--add-scram` of Kafka's storage tool. */
export function scramUsers(users: Readonly<Record<string, string>>): string[] {
  return Object.entries(users)
    .filter(([user]) => /^[a-z]+$/.test(user))
    .flatMap(([user, password]) =>
      ['SCRAM-SHA-256', 'SCRAM-SHA-512'].map((one) => `${one}=[name=${user},password=${password}]`),
    );
}
