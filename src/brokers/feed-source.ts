/**
 * What streams of a process with a broker read: the feed, for partitions that the broker brings
 * here; the log, for those that it brings nobody. While the broker is away nothing more is read,
 * unless the patience with it is over.
 */
import type { TypeSet } from '../core/event-pattern.ts';
import type { ReadRequest, ReadResult } from '../ports/store.ts';
import type { EventSource } from '../runtime/source.ts';
import type { Feed } from './feed.ts';

export class FeedSource implements EventSource {
  readonly #feed: Feed;
  readonly #log: EventSource;

  constructor(feed: Feed, log: EventSource) {
    this.#feed = feed;
    this.#log = log;
  }

  headOf(partition: number): number {
    const { presence } = this.#feed;
    if (presence.outOfPatience) return this.#log.headOf(partition);
    if (this.#feed.prefers(partition)) return this.#feed.reachOf(partition);
    return presence.waiting ? presence.frozenHead(partition) : this.#log.headOf(partition);
  }

  read(request: ReadRequest, types: TypeSet): ReadResult | Promise<ReadResult> {
    const { partition, after } = request;
    const found = this.#feed.read(request, types);
    if (found !== null) return found;
    const { presence } = this.#feed;
    if (presence.outOfPatience || !this.#feed.prefers(partition)) {
      return this.#log.read(request, types);
    }
    return this.#readLog(request, types, this.#feed.logLimit(partition, after));
  }

  settled(partition: number): void {
    this.#feed.settled(partition);
  }

  subscribe(listener: (partition: number) => void): () => void {
    const leaveFeed = this.#feed.subscribe(listener);
    const leaveLog = this.#log.subscribe((partition) => {
      if (!this.#feed.prefers(partition) || this.#feed.presence.outOfPatience) listener(partition);
    });
    return () => {
      leaveFeed();
      leaveLog();
    };
  }

  /** Of what lies before the next event in the feed, or before its reach. */
  async #readLog(request: ReadRequest, types: TypeSet, until: number): Promise<ReadResult> {
    const { after, limit } = request;
    const room = until - after;
    const found = await this.#log.read(
      room < limit && request.types === null ? { ...request, limit: room } : request,
      types,
    );
    if (found.scannedTo <= until) {
      // Nothing further although the feed says so: an answer to wait after, not to ask again.
      return { ...found, atHead: found.scannedTo === after };
    }
    const events = found.events.filter(({ offset }) => offset <= until);
    return { events, scannedTo: until, atHead: false };
  }
}
