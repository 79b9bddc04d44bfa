import { z } from 'zod';
import { action } from '../action.ts';
import { refusalCode } from '../fields.ts';

/** Refuses a call that is not answered yet (RFC 3261 §21); an answered one is hung up. */
export const reject = action({
  name: 'reject',
  schema: z.strictObject({ sip_code: refusalCode.default(480) }),
  run: ({ sip_code }, { channel }) =>
    Promise.resolve(
      channel.answered ? { next: 'hangup', cause: 'CALL_REJECTED' } : { next: 'refuse', sipCode: sip_code },
    ),
});
