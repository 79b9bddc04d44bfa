import { expect } from 'chai';
import { ApiError } from '../../../control/lib/errors.ts';
import { checkSpendRules } from '../../../control/limits/spend-control.ts';

type Spend = Parameters<typeof checkSpendRules>[0];

/** The rule that refuses a call, or undefined. */
function refusing(spend: Spend, number: string, price?: bigint): string | undefined {
  try {
    checkSpendRules(spend, number, price);
    return undefined;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    expect([error.code, error.status]).to.deep.equal(['spend_control_exceeded', 403]);
    return error.details?.map(({ path }) => path).join();
  }
}

describe('the spend rules of a customer', () => {
  it('let everything through where there are none', () => {
    expect(refusing({}, '+4930123', 10n ** 12n)).to.equal(undefined);
    expect(refusing({ allowedPrefixes: [], blockedPrefixes: [] }, '+4930123')).to.equal(undefined);
  });

  it('allow some prefixes alone, and block some even of those', () => {
    const spend = { allowedPrefixes: ['+49', '+359'], blockedPrefixes: ['+4990', '+1'] };
    expect(refusing(spend, '+4930123')).to.equal(undefined);
    expect(refusing(spend, '+359888')).to.equal(undefined);
    expect(refusing(spend, '+49900123')).to.equal('spend.blocked_prefixes');
    expect(refusing(spend, '+441234')).to.equal('spend.allowed_prefixes');
    expect(refusing({ blockedPrefixes: ['+1'] }, '+15551234')).to.equal('spend.blocked_prefixes');
  });

  it('set the highest price of a minute, which is allowed itself', () => {
    expect(refusing({ maxPricePerMinute: '0.1' }, '+4930', 100_000n)).to.equal(undefined);
    expect(refusing({ maxPricePerMinute: '0.1' }, '+4930', 100_001n)).to.equal('spend.max_price_per_minute');
    expect(refusing({ maxPricePerMinute: '0' }, '+4930', 0n)).to.equal(undefined);
    expect(refusing({ maxPricePerMinute: '0.1' }, '+4930')).to.equal(undefined);
  });
});
