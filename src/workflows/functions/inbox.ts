/**
 * Signals and decisions that came before the function waited for them: kept as notes of the run, in
 * the order in which they were sent, until somebody asks.
 */

export interface Letter {
  readonly no: number;
  readonly kind: 'signal' | 'approval';
  readonly name: string;
  readonly payloadJson: string;
}

type Note = readonly [key: string, json: string | null];

const prefix = 'inbox:';

export class Inbox {
  readonly #letters: Letter[] = [];

  constructor(notes: ReadonlyMap<string, string>) {
    for (const [key, json] of notes) {
      if (!key.startsWith(prefix)) continue;
      const [kind, name, payloadJson] = JSON.parse(json) as [Letter['kind'], string, string];
      this.#letters.push({ no: Number(key.slice(prefix.length)), kind, name, payloadJson });
    }
    this.#letters.sort((a, b) => a.no - b.no);
  }

  /** The note that keeps it. */
  put(letter: Letter): Note {
    this.#letters.push(letter);
    const { no, kind, name, payloadJson } = letter;
    return [`${prefix}${no}`, JSON.stringify([kind, name, payloadJson])];
  }

  has(kind: Letter['kind'], name: string): boolean {
    return this.#letters.some((one) => one.kind === kind && one.name === name);
  }

  /** The first one of that name, and the note that removes it. */
  take(kind: Letter['kind'], name: string): { letter: Letter; note: Note } | null {
    const at = this.#letters.findIndex((one) => one.kind === kind && one.name === name);
    if (at < 0) return null;
    const [letter] = this.#letters.splice(at, 1) as [Letter];
    return { letter, note: [`${prefix}${letter.no}`, null] };
  }
}
