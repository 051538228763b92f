/** What a block of the document is given by its test. */
export interface Setting {
  readonly url: string;
  /** What the handlers were called with. */
  readonly charged: unknown[];
}
