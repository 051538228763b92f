/** `*` and `?` in names, without regard to case; compiled once, when a pack is loaded. */

export function compileWildcard(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) {
    const wanted = pattern.toLowerCase();
    return (name) => name.toLowerCase() === wanted;
  }
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replace(/\?/g, '.');
  const regexp = new RegExp(`^${source}$`, 'is');
  return (name) => regexp.test(name);
}

export function compileWildcards(patterns: readonly string[]): (name: string) => boolean {
  const tests = patterns.map(compileWildcard);
  return (name) => tests.some((test) => test(name));
}
