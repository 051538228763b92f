// biome-ignore-all lint/correctness/noUnusedFunctionParameters: as the document has it
// biome-ignore-all lint/style/useImportType: as the document has it
// #region document
import { Job, JobProcessor } from 'millrace';

// Define job
interface InvoiceProcessingJob extends Job {
  type: 'invoice.processing';
  data: {
    invoiceId: string;
    tenantId: string;
    companyId: string;
  };
  priority: number;
  delay?: number;
  attempts?: number;
}

// Job processor
class InvoiceProcessor extends JobProcessor<InvoiceProcessingJob> {
  async process(job: InvoiceProcessingJob): Promise<void> {
    const { invoiceId, tenantId, companyId } = job.data;

    try {
      // Process invoice
      await this.processInvoice(invoiceId, tenantId, companyId);

      // Update job status
      await this.updateJobStatus(job.id, 'completed');
    } catch (error) {
      // Handle error
      await this.handleJobError(job.id, error);
      throw error;
    }
  }

  // @ts-expect-error noUnusedParameters: as the document has it
  private async processInvoice(invoiceId: string, tenantId: string, companyId: string) {
    // Invoice processing logic
    console.log(`Processing invoice ${invoiceId} for tenant ${tenantId}`);
  }
}

// #endregion

export { type InvoiceProcessingJob, InvoiceProcessor };
