/**
 * Checks JSON text (RFC 8259) for what JSON.parse accepts in silence: numbers that change their
 * value, the same key twice, `__proto__`, text beyond the limits. `parseJson` is the only caller;
 * it leaves building the value to JSON.parse.
 */
import {
  Budget,
  checkName,
  checkNumber,
  checkString,
  Fault,
  formatPath,
  type JsonLimits,
  jsonLimits,
  notJson,
} from './json-rules.ts';

const quote = 0x22;
const backslash = 0x5c;
/** Up to here a look through an array beats a Set: most objects are this small. */
const listedKeysMax = 16;

/** @throws MillraceError PAYLOAD_NOT_JSON; when it returns, JSON.parse(text) succeeds. */
export function checkJsonText(text: string, limits: JsonLimits): void {
  const scanner = new Scanner(text, new Budget(limits));
  try {
    scanner.document();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const path = formatPath(limits.root ?? jsonLimits.root, error.path.reverse());
    throw notJson(path, error.problem, { fix: error.fix, where: scanner.position() });
  }
}

/** A cursor in a text: each method reads one production of the grammar and stands behind it. */
class Scanner {
  readonly #text: string;
  readonly #budget: Budget;
  /** Strings without escapes need no look of their own when the whole text is well-formed. */
  readonly #wellFormed: boolean;
  #at = 0;

  constructor(text: string, budget: Budget) {
    this.#text = text;
    this.#budget = budget;
    this.#wellFormed = text.isWellFormed();
  }

  position(): { line: number; column: number } {
    const before = this.#text.slice(0, this.#at);
    return { line: before.split('\n').length, column: this.#at - before.lastIndexOf('\n') };
  }

  document(): void {
    this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#unexpected('the end of the text');
  }

  #value(depth: number): void {
    switch (this.#space()) {
      case 0x7b: // {
        this.#budget.checkDepth(depth + 1);
        this.#object(depth + 1);
        break;
      case 0x5b: // [
        this.#budget.checkDepth(depth + 1);
        this.#array(depth + 1);
        break;
      case quote:
        this.#string();
        break;
      case 0x74:
        this.#word('true');
        break;
      case 0x66:
        this.#word('false');
        break;
      case 0x6e:
        this.#word('null');
        break;
      default:
        this.#number();
    }
  }

  #object(depth: number): void {
    this.#at += 1;
    if (this.#skip(0x7d)) return;
    const keys = new Keys();
    for (;;) {
      if (this.#space() !== quote) throw this.#unexpected('a member name');
      const start = this.#at;
      this.#string();
      const key = this.#memberName(start);
      try {
        if (!keys.add(key)) throw this.#faultAt(start, 'appears twice in one object');
        checkName(key);
        this.#budget.takeKey();
        if (!this.#skip(0x3a)) throw this.#unexpected("':'");
        this.#value(depth);
      } catch (error) {
        if (error instanceof Fault) error.path.push(key);
        throw error;
      }
      if (this.#skip(0x7d)) return;
      if (!this.#skip(0x2c)) throw this.#unexpected("',' or '}'");
    }
  }

  #array(depth: number): void {
    this.#at += 1;
    if (this.#skip(0x5d)) return;
    for (let i = 0; ; i += 1) {
      try {
        this.#budget.takeItems(1);
        this.#value(depth);
      } catch (error) {
        if (error instanceof Fault) error.path.push(i);
        throw error;
      }
      if (this.#skip(0x5d)) return;
      if (!this.#skip(0x2c)) throw this.#unexpected("',' or ']'");
    }
  }

  #string(): void {
    const text = this.#text;
    const start = this.#at;
    let escaped = false;
    for (let i = start + 1; i < text.length; i += 1) {
      const unit = text.charCodeAt(i);
      if (unit === quote) {
        this.#at = i + 1;
        if (escaped || !this.#wellFormed) this.#checkContent(start);
        return;
      }
      if (unit === backslash) {
        escaped = true;
        i += 1;
      } else if (unit < 0x20) {
        throw this.#faultAt(i, 'holds a control character that is not escaped', 'Escape it.');
      }
    }
    throw this.#faultAt(start, 'is a string without an end', 'Send the whole text.');
  }

  /** Escapes may spell what may not stand there; they are rare, so JSON.parse reads them. */
  #checkContent(start: number): void {
    try {
      checkString(JSON.parse(this.#text.slice(start, this.#at)) as string);
    } catch (error) {
      this.#at = start;
      if (error instanceof Fault) throw error;
      throw new Fault(
        'holds an escape that JSON does not know',
        'Escape as RFC 8259 section 7 says.',
      );
    }
  }

  /** The value of the string that begins at `start` and ends here. */
  #memberName(start: number): string {
    const raw = this.#text.slice(start + 1, this.#at - 1);
    return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  #number(): void {
    numberPattern.lastIndex = this.#at;
    if (!numberPattern.test(this.#text)) throw this.#unexpected('a value');
    const end = numberPattern.lastIndex;
    checkLiteral(this.#text.slice(this.#at, end));
    this.#at = end;
  }

  #word(word: string): void {
    if (!this.#text.startsWith(word, this.#at)) throw this.#unexpected('a value');
    this.#at += word.length;
  }

  /** Past white space and this character, if it is the next one. */
  #skip(unit: number): boolean {
    if (this.#space() !== unit) return false;
    this.#at += 1;
    return true;
  }

  /** Skips white space and answers with the code unit that follows; NaN at the end. */
  #space(): number {
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return unit;
      this.#at += 1;
    }
  }

  #faultAt(at: number, problem: string, fix?: string): Fault {
    this.#at = at;
    return new Fault(problem, fix);
  }

  #unexpected(wanted: string): Fault {
    const point = this.#text.codePointAt(this.#at);
    const found = point === undefined ? 'the text ends' : `${nameCharacter(point)} is`;
    return new Fault(`is not JSON: ${wanted} should stand where ${found}`, 'Send valid JSON.');
  }
}

/** `'x'`, or U+FEFF for what would not show. */
function nameCharacter(point: number): string {
  if (point > 0x20 && point < 0x7f) return `'${String.fromCodePoint(point)}'`;
  return `U+${point.toString(16).toUpperCase().padStart(4, '0')}`;
}

/** The member names of one object. */
class Keys {
  readonly #list: string[] = [];
  #set: Set<string> | undefined;

  /** False when the key is there already. */
  add(key: string): boolean {
    if (this.#set !== undefined) return this.#set.size < this.#set.add(key).size;
    if (this.#list.includes(key)) return false;
    if (this.#list.push(key) > listedKeysMax) this.#set = new Set(this.#list);
    return true;
  }
}

const numberPattern = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

function checkLiteral(literal: string): void {
  const value = Number(literal);
  if (Number.isFinite(value)) checkNumber(value);
  // 15 significant digits always survive a double.
  if (literal.length <= 15 && !/[eE]/.test(literal)) return;
  if (decimal(literal) === decimal(String(value))) return;
  throw new Fault('is a number that a double cannot keep as written', 'Send it as a string.');
}

/** Digits and exponent: one form for all ways to write the same number. */
function decimal(literal: string): string {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(literal);
  if (parts === null) return literal;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = parts;
  const all = (whole + fraction).replace(/^0+/, '');
  const digits = all.replace(/0+$/, '');
  if (digits === '') return '0';
  return `${sign}${digits}e${Number(exponent) - fraction.length + all.length - digits.length}`;
}
