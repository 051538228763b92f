/** Takes secrets out of text that people will read. */

const patterns: readonly [RegExp, string][] = [
  [/(SharedAccess(?:Key|Signature)=)[^;\s'"]+/gi, '$1***'],
  [/(\/\/[^\s:/@'"]*:)[^\s@'"]+@/g, '$1***@'],
  [/(Bearer )[A-Za-z0-9._~+/=-]{8,}/g, '$1***'],
  [/(X-Amz-(?:Signature|Security-Token|Credential)=)[^&\s'"]+/gi, '$1***'],
];

export function createRedaction(
  secrets: () => readonly (string | null | undefined)[],
): (text: string) => string {
  return (text) => {
    let clean = text;
    for (const secret of secrets()) {
      // Shorter ones are in every text: taking them out would say what they are.
      if (typeof secret !== 'string' || secret.length < 4) continue;
      clean = clean.replaceAll(secret, '***').replaceAll(encodeURIComponent(secret), '***');
    }
    for (const [pattern, replacement] of patterns) clean = clean.replace(pattern, replacement);
    return clean;
  };
}
