// biome-ignore-all lint/style/useImportType: as the document has it
// biome-ignore-all assist/source/organizeImports: as the document has it
// biome-ignore-all lint/suspicious/noExplicitAny: as the document has it
// #region document
import { Workflow, WorkflowStep, WorkflowEngine } from 'millrace';

// Define workflow
interface InvoiceWorkflow extends Workflow {
  name: 'invoice.processing';
  steps: WorkflowStep[];
  onSuccess?: (result: any) => void;
  onError?: (error: Error) => void;
}
// #endregion
import type { Setting } from './setting.ts';

export async function workflowDefinition({ connection }: Setting) {
  // #region document
  // Workflow steps
  const invoiceWorkflow: InvoiceWorkflow = {
    name: 'invoice.processing',
    steps: [
      {
        name: 'validate-invoice',
        processor: 'InvoiceValidator',
        retryAttempts: 3,
        retryDelay: 1000,
      },
      {
        name: 'calculate-totals',
        processor: 'InvoiceCalculator',
        retryAttempts: 2,
        retryDelay: 500,
      },
      {
        name: 'post-to-ledger',
        processor: 'LedgerPoster',
        retryAttempts: 5,
        retryDelay: 2000,
      },
      {
        name: 'send-notifications',
        processor: 'NotificationSender',
        retryAttempts: 2,
        retryDelay: 1000,
      },
    ],
    onSuccess: (result) => {
      console.log('Invoice workflow completed:', result);
    },
    onError: (error) => {
      console.error('Invoice workflow failed:', error);
    },
  };

  // Workflow engine
  const workflowEngine = new WorkflowEngine({
    ...connection,
    workflows: [invoiceWorkflow],
  });

  // Execute workflow
  await workflowEngine.execute('invoice.processing', {
    invoiceId: 'inv_001',
    tenantId: 'tenant_123',
    companyId: 'company_123',
  });
  // #endregion
  return { workflowEngine, invoiceWorkflow };
}
