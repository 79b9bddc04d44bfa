import { action, FlowFailure } from '../action.ts';
import { legFields, secondLeg } from '../second-leg.ts';

/** Hands the caller over to a second leg; the flow is over. A leg that is not reached fails the call. */
export const transfer = action({
  name: 'transfer',
  summary:
    'Rings a destination while the caller hears ringback, and connects them; later actions do not run. ' +
    'The call ends with the second leg. A destination that is not reached ends the call `failed`, ' +
    '`transfer_unreachable`. A number goes out over the trunks of the customer, and is charged and limited as ' +
    'an outbound call.',
  example: { destination: '+15551230009', timeout_seconds: 30 },
  schema: legFields,
  async run(fields, context, resumed) {
    const leg = await secondLeg(fields, context, resumed);
    if (leg.failed) throw leg.failed;
    if (leg.refused) throw new FlowFailure(leg.refused.code, leg.refused.message);
    if (!leg.reached)
      throw new FlowFailure(
        'transfer_unreachable',
        `destination did not answer (${leg.sipCode ?? leg.cause})`,
      );
    return { next: 'hangup', cause: 'NORMAL_CLEARING', by: leg.endedBy };
  },
});
