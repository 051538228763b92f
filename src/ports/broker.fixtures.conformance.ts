/** What a driver's tests give to the conformance suite of the broker port. */
import type { Broker, BrokerSettings } from './broker.ts';

/** A server to test against, and how to harm it. */
export interface BrokerFixture {
  /** For the titles of tests. */
  readonly name: string;
  /** A connection to the server under test. Every call is a client of its own, as of a process. */
  open(settings?: Partial<BrokerSettings>): Promise<Broker>;
  /** A name of a topic that no other test uses. Of the one topic, where topics are not made. */
  topic(): string;
  /** A name of a group that no other test uses. */
  group(): string;
  /** The same server with credentials that it must refuse; null: it asks for none. */
  openRefused: (() => Promise<Broker>) | null;
  /**
   * Kills the server without warning and starts it again on the same data; null: several suites
   * share it, and it may not be harmed.
   */
  restart: (() => Promise<void>) | null;
  close(): Promise<void>;
}
