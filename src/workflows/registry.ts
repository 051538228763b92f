/**
 * The workflows that this process knows, by namespace, name and version; versions stand side by
 * side. A run goes on with the definition that it began with: one whose template has another hash
 * is made from the stored template.
 */
import { MillraceError } from '../core/errors.ts';
import type { RunInfo, StoredTemplate, WorkflowStore } from '../ports/workflows.ts';
import { type AnyWorkflowDefinition, queueOf } from './definition.ts';

export type FromTemplate = (stored: StoredTemplate) => AnyWorkflowDefinition | null;

export class Registry {
  readonly #store: Pick<WorkflowStore, 'saveTemplates' | 'template'>;
  /** By `<namespace>/<name>`, then by version, in the order in which they were added. */
  readonly #known = new Map<string, Map<string, AnyWorkflowDefinition>>();
  readonly #worked = new Set<AnyWorkflowDefinition>();
  readonly #saved = new Map<string, Promise<void>>();
  readonly #stored = new Set<string>();
  readonly #fromTemplates = new Map<string, AnyWorkflowDefinition>();
  #fromTemplate: FromTemplate = () => null;

  constructor(store: Pick<WorkflowStore, 'saveTemplates' | 'template'>) {
    this.#store = store;
  }

  /** How a definition is made of a stored template. */
  set fromTemplate(make: FromTemplate) {
    this.#fromTemplate = make;
    this.#fromTemplates.clear();
  }

  /** The same version again replaces the one before, for runs that start from now on. */
  add(definition: AnyWorkflowDefinition, works: boolean): void {
    const { namespace, name, version } = definition;
    const path = `${namespace}/${name}`;
    const versions = this.#known.get(path) ?? new Map<string, AnyWorkflowDefinition>();
    this.#known.set(path, versions);
    const before = versions.get(version);
    const worked = works || (before !== undefined && this.#worked.delete(before));
    versions.delete(version); // the newest stands last
    versions.set(version, definition);
    if (worked) this.#worked.add(definition);
  }

  get all(): readonly AnyWorkflowDefinition[] {
    return [...this.#known.values()].flatMap((versions) => [...versions.values()]);
  }

  get worked(): readonly AnyWorkflowDefinition[] {
    return [...this.#worked];
  }

  get queues(): readonly string[] {
    return [...new Set(this.worked.map(queueOf))];
  }

  works(definition: AnyWorkflowDefinition): boolean {
    return this.#worked.has(definition);
  }

  /**
   * By `<name>` or `<namespace>/<name>`; without a version the one that was added last.
   * @throws MillraceError WORKFLOW_UNKNOWN
   */
  find(path: string, version?: string): AnyWorkflowDefinition {
    const versions = this.#versions(path);
    const found = version === undefined ? [...versions.values()].at(-1) : versions.get(version);
    if (found) return found;
    const known = [...versions.keys()].join(', ');
    throw new MillraceError('WORKFLOW_UNKNOWN', `${path} has no version ${version} here.`, {
      fix: `Known here: ${known}. Add that version's definition to the workflows of this process.`,
    });
  }

  /** Whose queue, version and template a run was started with; null: not known here. */
  knownFor(run: Pick<RunInfo, 'namespace' | 'name' | 'version' | 'templateHash'>) {
    const versions = this.#known.get(`${run.namespace}/${run.name}`);
    const definition = versions?.get(run.version);
    if (definition === undefined) return null;
    return (definition.template?.hash ?? '') === run.templateHash ? definition : null;
  }

  /** What drives the run here; null: nothing that this process knows. */
  async definitionFor(run: RunInfo): Promise<AnyWorkflowDefinition | null> {
    const known = this.knownFor(run);
    if (known !== null) return known;
    const { templateHash } = run;
    if (templateHash === '') return null;
    const made = this.#fromTemplates.get(templateHash);
    if (made) return made;
    const stored = await this.#store.template(templateHash);
    const definition = stored === null ? null : this.#fromTemplate(stored);
    if (definition !== null) this.#fromTemplates.set(templateHash, definition);
    return definition;
  }

  /** Makes the templates of all definitions known to the store, those it has not seen yet. */
  async save(definitions: readonly AnyWorkflowDefinition[]): Promise<void> {
    const templates = definitions.flatMap(({ template }) => (template === null ? [] : [template]));
    const unsaved = templates.filter(({ hash }) => !this.#saved.has(hash));
    if (unsaved.length > 0) {
      const saving = this.#store.saveTemplates(unsaved);
      for (const { hash } of unsaved) {
        this.#saved.set(hash, saving);
        saving.then(
          () => this.#stored.add(hash),
          () => this.#saved.delete(hash),
        );
      }
    }
    await Promise.all(templates.map(({ hash }) => this.#saved.get(hash)));
  }

  /** True when a run of it can be stored without saving its template first. */
  isSaved({ template }: AnyWorkflowDefinition): boolean {
    return template === null || this.#stored.has(template.hash);
  }

  #versions(path: string): Map<string, AnyWorkflowDefinition> {
    const exact = this.#known.get(path);
    if (exact) return exact;
    const paths = [...this.#known.keys()];
    const matching = paths.filter((known) => known.slice(known.indexOf('/') + 1) === path);
    if (matching.length === 1) return this.#known.get(matching[0] as string) as typeof exact & {};
    const list = paths.length === 0 ? 'none' : paths.slice(0, 20).join(', ');
    const message =
      matching.length > 1
        ? `There is more than one workflow '${path}': ${matching.join(', ')}.`
        : `No workflow '${path}' is known here.`;
    throw new MillraceError('WORKFLOW_UNKNOWN', message, {
      fix:
        matching.length > 1
          ? 'Give its namespace, as in <namespace>/<name>.'
          : `Known here: ${list}. Add its definition to the workflows of this process.`,
    });
  }
}
