import { action, FlowFailure } from '../action.ts';
import { legFields, secondLeg } from '../second-leg.ts';

/** Hands the caller over to a second leg; the flow is over. A leg that is not reached fails the call. */
export const transfer = action({
  name: 'transfer',
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
