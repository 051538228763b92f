/** Patterns of event types as LIKE takes them: `*` is any text, everything else itself. */
export function likePattern(type: string): string {
  return type.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
}
