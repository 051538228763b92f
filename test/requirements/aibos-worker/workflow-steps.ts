// biome-ignore-all lint/correctness/noUnusedFunctionParameters: as the document has it
// biome-ignore-all lint/style/useImportType: as the document has it
// biome-ignore-all assist/source/organizeImports: as the document has it
// biome-ignore-all lint/suspicious/noExplicitAny: as the document has it
// #region document
import { WorkflowStep, StepProcessor } from 'millrace';

// Step processor
class InvoiceValidator extends StepProcessor {
  // @ts-expect-error noUnusedParameters: as the document has it
  async process(step: WorkflowStep, data: any): Promise<any> {
    const { invoiceId, tenantId, companyId } = data;

    // Validate invoice
    const validation = await this.validateInvoice(invoiceId, tenantId, companyId);

    if (!validation.isValid) {
      throw new Error(`Invoice validation failed: ${validation.errors.join(', ')}`);
    }

    return {
      ...data,
      validation: validation,
    };
  }

  // @ts-expect-error noUnusedParameters: as the document has it
  private async validateInvoice(invoiceId: string, tenantId: string, companyId: string) {
    // Validation logic
    return {
      isValid: true,
      errors: [],
    };
  }
}
// #endregion
import type { WorkflowEngine } from 'millrace';

export function workflowSteps(workflowEngine: WorkflowEngine): void {
  // #region document
  // Register step processor
  workflowEngine.registerStepProcessor('InvoiceValidator', new InvoiceValidator());
  // #endregion
}
