import { z } from 'zod';
import { action } from '../action.ts';
import { refusalCode } from '../fields.ts';

/** Temporarily unavailable: the caller may try again. */
const USUAL = 480;

/** Refuses a call that is not answered yet (RFC 3261 §21); an answered one is hung up. */
export const reject = action({
  name: 'reject',
  summary:
    'Refuses an inbound call without answering it, as the first action; a call that is answered is hung up.',
  example: { sip_code: 486 },
  schema: z.strictObject({
    // The generator of the documentation leaves out the default of what names its own type.
    sip_code: refusalCode
      .default(USUAL)
      .meta({ default: USUAL, description: 'the SIP status code (RFC 3261 §21) that the caller gets' }),
  }),
  run: ({ sip_code }, { channel }) =>
    Promise.resolve(
      channel.answered ? { next: 'hangup', cause: 'CALL_REJECTED' } : { next: 'refuse', sipCode: sip_code },
    ),
});
