/**
 * A partition while a member has it: what was delivered and is not acknowledged, and from where to
 * go on. It first claims what is pending, of a former owner or of a read whose answer was lost, and
 * then reads what is new; entries so come in the order of their ids.
 */
import { comparePositions } from './positions.ts';

/** Entries of one read: of 600 bytes some 300 KB. */
const fetchMax = 512;
const fetchFirst = 32;
const fetchCharsMax = 1_048_576;

export class Lane {
  readonly partition: number;
  /** Fencing token: what is read, claimed or acknowledged with an older one is refused. */
  readonly epoch: number;
  /** Where to go on claiming; null: nothing is pending but what was delivered. */
  claimFrom: string | null = '0-0';
  /** The group was given everything up to here. */
  lastId = '0-0';
  /** It goes to another member; null: it does not. */
  leaving: Promise<void> | null = null;
  /** The server says that it is not ours; the next beat tells. */
  isDoubtful = false;
  /** Something was acknowledged since the last trim. */
  isTrimmable = true;
  #lastDelivered: string | null = null;
  #fetch = fetchFirst;
  readonly #inFlightMax: number;
  /** Ids delivered, ascending; those before `#first` are acknowledged. */
  #ids: string[] = [];
  #first = 0;
  /** Everything up to here is to be acknowledged. */
  #doneUpTo: string | null = null;

  constructor(partition: number, epoch: number, inFlightMax: number) {
    this.partition = partition;
    this.epoch = epoch;
    this.#inFlightMax = inFlightMax;
  }

  get inFlight(): number {
    return this.#ids.length - this.#first;
  }

  get isFull(): boolean {
    return this.inFlight >= this.#inFlightMax;
  }

  /** How many entries to ask for; 0 while too many wait to be acknowledged. */
  get wanted(): number {
    if (this.isDoubtful || this.leaving !== null) return 0;
    return Math.max(0, Math.min(this.#fetch, this.#inFlightMax - this.inFlight));
  }

  /** Entries were delivered, of so many characters together. */
  took(ids: readonly string[], chars: number): void {
    const last = ids.at(-1) as string;
    for (const id of ids) this.#ids.push(id);
    this.#lastDelivered = last;
    if (comparePositions(last, this.lastId) > 0) this.lastId = last;
    if (chars > fetchCharsMax) this.#fetch = Math.max(1, this.#fetch >> 1);
    else if (ids.length >= this.#fetch && chars < fetchCharsMax / 2) {
      this.#fetch = Math.min(fetchMax, this.#fetch * 2);
    }
  }

  /** An answer was lost: what it had is pending, and nobody saw it. */
  resume(): void {
    this.claimFrom = this.#lastDelivered === null ? '0-0' : `(${this.#lastDelivered}`;
  }

  /** True when there is something to tell the server. */
  done(position: string): boolean {
    if (this.#doneUpTo === null || comparePositions(position, this.#doneUpTo) > 0) {
      this.#doneUpTo = position;
    }
    return this.unacknowledged(1).length > 0;
  }

  /** Ids that are done and that the server does not know of, `max` at most. */
  unacknowledged(max: number): readonly string[] {
    const upTo = this.#doneUpTo;
    if (upTo === null) return [];
    let low = this.#first;
    let high = Math.min(this.#ids.length, this.#first + max);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (comparePositions(this.#ids[middle] as string, upTo) <= 0) low = middle + 1;
      else high = middle;
    }
    return this.#ids.slice(this.#first, low);
  }

  /** The server knows of the first `count`. */
  acknowledged(count: number): void {
    this.#first += count;
    this.isTrimmable = true;
    if (this.#first < 1_000 || this.#first * 2 < this.#ids.length) return;
    this.#ids = this.#ids.slice(this.#first);
    this.#first = 0;
  }
}
