/** Templates as stores keep them: text and hash. A run names the hash of the one it began with. */
import { createHash } from 'node:crypto';
import type { CompiledTemplate } from '../../core/workflow/template.ts';
import type { StoredTemplate } from '../../ports/workflows.ts';

/** SHA-256, hex: of templates, and of the inputs of runs with strict identity. */
export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** `restoreTemplate(stored.definitionJson)` gives the template back. */
export function storedTemplate(template: CompiledTemplate): StoredTemplate {
  const { namespace, name, version, canonicalJson } = template;
  const hash = hashText(canonicalJson);
  return Object.freeze({ hash, namespace, name, version, definitionJson: canonicalJson });
}
