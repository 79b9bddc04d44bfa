import { expect } from 'chai';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RotatingLog } from '../../../cli/supervisor/rotating-log.ts';

describe('the log of a part', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'minivoice-log-'))));
  afterEach(() => rmSync(folder, { recursive: true }));
  const now = (): Date => new Date('2026-01-02T03:04:05.678Z');
  const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8');

  it('gives every line a time, but leaves JSON lines as they are', () => {
    const log = new RotatingLog(path.join(folder, 'a.log'), { now });
    log.write('one\n{"time":"x"}\n');
    log.close();
    expect(read('a.log')).to.equal('2026-01-02T03:04:05.678Z one\n{"time":"x"}\n');
  });

  it('puts a line together that comes in pieces', () => {
    const log = new RotatingLog(path.join(folder, 'a.log'), { now });
    log.write('he');
    log.write('llo\nlast');
    log.close();
    expect(read('a.log')).to.equal('2026-01-02T03:04:05.678Z hello\n2026-01-02T03:04:05.678Z last\n');
  });

  it('begins a new file when it has grown, and keeps as many old ones as it should', () => {
    const log = new RotatingLog(path.join(folder, 'a.log'), { now, limit: 40, kept: 2 });
    for (const line of ['first', 'second', 'third', 'fourth']) log.write(`${line}\n`);
    log.close();
    expect(read('a.log')).to.contain('fourth');
    expect(read('a.log.1')).to.contain('third');
    expect(read('a.log.2')).to.contain('second');
    expect(existsSync(path.join(folder, 'a.log.3'))).to.equal(false);
  });

  it('remembers its last lines, unfinished ones included', () => {
    const log = new RotatingLog(path.join(folder, 'a.log'), { now });
    log.write('one\n\ntwo\nthr');
    expect(log.tail(2)).to.equal('two\nthr');
    log.close();
  });
});
