import { expect } from 'chai';
import fc from 'fast-check';
import { createSecrets } from '../../../control/lib/secrets.ts';

const secrets = createSecrets('ab'.repeat(32));

describe('secrets', () => {
  it('come back as they went in, and never look the same twice', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, context) => {
        const sealed = secrets.encrypt(text, context);
        expect(secrets.decrypt(sealed, context)).to.equal(text);
        expect(secrets.encrypt(text, context)).to.not.equal(sealed);
      }),
    );
  });

  it('do not show the text', () => {
    expect(secrets.encrypt('correct horse battery staple', 'x')).to.not.match(/horse/);
    expect(
      Buffer.from(secrets.encrypt('correct horse', 'x').slice(3), 'base64url').includes('horse'),
    ).to.equal(false);
  });

  it('open neither with another key nor in another place', () => {
    const sealed = secrets.encrypt('text', 'trunk_1.password');
    expect(() => secrets.decrypt(sealed, 'trunk_2.password')).to.throw(
      /trunk_2.password: cannot be decrypted/,
    );
    expect(() => createSecrets('cd'.repeat(32)).decrypt(sealed, 'trunk_1.password')).to.throw(
      /cannot be decrypted/,
    );
  });

  it('do not open once any bit of them has changed', () => {
    const sealed = Buffer.from(secrets.encrypt('text', 'x').slice(3), 'base64url');
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => secrets.decrypt(`v1.${changed.toString('base64url')}`, 'x')).to.throw(
        /cannot be decrypted/,
      );
    }
  });

  it('refuse what is no encrypted value, and a key of the wrong length', () => {
    for (const value of ['', 'v1.', 'v1.AAAA', 'plain text'])
      expect(() => secrets.decrypt(value, 'x')).to.throw(/x: not an encrypted value/);
    expect(() => createSecrets('ab')).to.throw(/32 bytes/);
  });
});
