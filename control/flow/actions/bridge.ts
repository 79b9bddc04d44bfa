import { action } from '../action.ts';
import { legFields, secondLeg } from '../second-leg.ts';

/**
 * As transfer, but the actions after it are the fallback for a leg that is not reached; once connected they
 * never run.
 */
export const bridge = action({
  name: 'bridge',
  summary:
    'As `transfer`, but when the second leg is not reached the actions after `bridge` run. ' +
    'Once the second leg has been connected they never do: the call ends with it.',
  example: { destination: 'sip:desk@pbx.example.com', timeout_seconds: 20 },
  schema: legFields,
  async run(fields, context, resumed) {
    const leg = await secondLeg(fields, context, resumed);
    const result = {
      reached: leg.reached,
      cause: leg.cause,
      sip_code: leg.sipCode,
      refused: leg.refused?.code,
      message: leg.failed?.message,
    };
    return leg.reached
      ? { next: 'hangup', cause: 'NORMAL_CLEARING', by: leg.endedBy, result }
      : { next: 'continue', result };
  },
});
