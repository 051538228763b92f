/** The workflow port on Postgres 15 to 18, over the connections of an open store. */
import type { NoticeChannel } from '../../../ports/notices.ts';
import type { WorkflowStore } from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { createAgeing } from './ageing.ts';
import { createCommit } from './commit.ts';
import { createDelivery } from './delivery.ts';
import { createLifecycle } from './lifecycle.ts';
import { createLoading } from './loading.ts';
import { createWorkflowQueries } from './queries.ts';
import { RunAnnouncer } from './run-announcer.ts';
import { RunLanes } from './run-lanes.ts';
import { createStart } from './start.ts';
import { createTemplates } from './templates.ts';
import { createBegin } from './transactions.ts';

/** `notices`: where held runs hear that they got a message. */
export function createWorkflowStore(database: Database, notices: NoticeChannel): WorkflowStore {
  const announcer = new RunAnnouncer(notices);
  const lanes = new RunLanes(database);
  return {
    queries: createWorkflowQueries(database),
    ...createTemplates(database),
    start: createStart(database, lanes),
    commit: createCommit(database, announcer, lanes),
    begin: createBegin(database, announcer, lanes),
    ...createLoading(database),
    ...createDelivery(database, announcer),
    ...createLifecycle(database, announcer),
    ...createAgeing(database),
  };
}
