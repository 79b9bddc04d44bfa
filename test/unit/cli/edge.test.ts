import { expect } from 'chai';
import { isRecent, kamailioVersion } from '../../../cli/setup/edge.ts';

describe('the Kamailio that is used', () => {
  it('tells its version in its first line', () => {
    expect(kamailioVersion('version: kamailio 6.1.5 (x86_64/Linux) \nflags: USE_TCP')).to.equal('6.1.5');
    expect(kamailioVersion('sh: kamailio: not found')).to.equal(undefined);
  });

  it('is 6.0.7 or later, since older ones leak events in http_async_client', () => {
    for (const good of ['6.0.7', '6.0.10', '6.1.0', '7.0.0']) expect(isRecent(good), good).to.equal(true);
    for (const bad of ['5.6.3', '5.8.9', '6.0.1', '6.0.6']) expect(isRecent(bad), bad).to.equal(false);
  });
});
