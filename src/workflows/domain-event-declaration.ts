/** A domain event as a step or a workflow declares it; the events layer knows it as well. */
export {
  type DomainEventDeclaration,
  deliveryModes,
  publishConditions,
} from '../core/workflow/domain-event.ts';
