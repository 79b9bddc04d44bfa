import { Writable } from 'node:stream';
import { expect } from 'chai';
import { pino } from 'pino';
import { plainError } from '../../../control/lib/logger.ts';

describe('what of an error is logged', () => {
  const logged = (error: unknown): string => {
    let text = '';
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        text += chunk.toString();
        done();
      },
    });
    pino({ serializers: { err: plainError } }, stream).error({ err: error }, 'it failed');
    return text;
  };

  it('its type, message, codes, stack and cause', () => {
    const text = logged(
      Object.assign(new TypeError('outer', { cause: new Error('inner') }), {
        code: 'ER_LOCK',
        sqlState: '40001',
      }),
    );
    expect(text)
      .to.contain('TypeError')
      .and.contain('outer')
      .and.contain('inner')
      .and.contain('ER_LOCK')
      .and.contain('40001')
      .and.contain('logger.test.ts');
  });

  it('never what libraries hang on to it, nor more of its message than a line', () => {
    const text = logged(
      Object.assign(new Error(`start ${'x'.repeat(2000)} the-secret-at-the-end`), {
        sql: 'INSERT the-secret',
        options: { headers: { authorization: 'the-secret' } },
      }),
    );
    expect(text).to.contain('start').and.not.contain('the-secret');
  });
});
