/** Templates as they were when a run started: stored once by their hash, never changed. */
import type { StoredTemplate, WorkflowStore } from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

type TemplateRow = [
  hash: string,
  namespace: string,
  name: string,
  version: string,
  definition: string,
];

export function createTemplates(
  database: Database,
): Pick<WorkflowStore, 'saveTemplates' | 'template'> {
  return {
    async saveTemplates(templates) {
      if (templates.length === 0) return;
      await database.rows(sql.saveTemplates, [JSON.stringify(templates)]);
    },
    async template(hash): Promise<StoredTemplate | null> {
      const [row] = await database.rows<TemplateRow>(sql.findTemplate, [hash]);
      if (!row) return null;
      const [, namespace, name, version, definitionJson] = row;
      return { hash, namespace, name, version, definitionJson };
    },
  };
}
