/** A handler for a sandbox that never comes back. */
export default function endless(): never {
  for (;;);
}
