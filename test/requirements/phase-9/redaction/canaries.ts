/** Values that occur nowhere but where they were planted, and the exceptions that they are in. */

export const canaries = {
  email: 'canary.q7x9@planted-7731.example',
  card: '4539148803436467',
  spacedCard: '4539 1488 0343 6467',
  password: 'Canary-pw-83412',
  phone: '+4917655512389',
  iban: 'DE75512108001245126199',
  ssn: '478-31-8842',
  awsKey: 'AKIAQ7XCANARY7731ZZZ',
  jwt: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnktNzczMSJ9.c2lnLWNhbmFyeS03NzMx',
  beneficiary: 'Canary Beneficiary Quill',
  member: 'Canary Tenant Ruby',
} as const;

const { email, card, spacedCard, password, phone, iban, ssn, awsKey, jwt } = canaries;

const envelope = { domain: 'finance', exceptionType: 'SETTLEMENT_FAIL', source: 'OMS' };
const payload = {
  tradeId: 'T-1',
  daysOverdue: 1,
  beneficiary: canaries.beneficiary,
  contact: { name: canaries.member, note: 'x' },
  message: `client ${email} paid with ${spacedCard} from ${iban}, call ${phone}`,
  error: `cannot reach postgres://svc:${password}@db.internal/trades; ssn ${ssn}`,
  headers: { authorization: `Bearer ${jwt}`, 'x-trace': 'ok' },
  card_number: Number(card),
  lines: [{ text: `AWS_ACCESS_KEY_ID=${awsKey}` }, { secret: password }],
  [`by ${email}`]: { count: 1 },
};

/** Resolved by tools, dead at intake, dead at triage, waiting for a person, escalated. */
export const exceptions = [
  { ...envelope, exceptionId: 'C-resolved', rawPayload: payload },
  {
    ...envelope,
    exceptionId: 'C-no-amount',
    exceptionType: 'CASH_BREAK',
    rawPayload: { ...payload, amount: `about ${email}` },
  },
  {
    ...envelope,
    exceptionId: 'C-no-type',
    exceptionType: 'SETTLEMENT_FIAL',
    rawPayload: { ...payload, timestamp: '2026-01-05T14:13:29Z' },
  },
  {
    ...envelope,
    exceptionId: 'C-no-time',
    rawPayload: { ...payload, timestamp: `${email} ${card}` },
  },
  { ...envelope, exceptionId: 'C-person', rawPayload: { ...payload, daysOverdue: 9 } },
  {
    ...envelope,
    exceptionId: 'C-account',
    exceptionType: 'ACCOUNT_BLOCKED',
    rawPayload: { ...payload, accountId: 'A', accountStatus: 'frozen', entity: email },
  },
] as const;
