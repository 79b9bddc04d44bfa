import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { checkArguments, checkMochaOptions, unknownCommand } from '../../../cli/arguments.ts';
import { FOR_PEOPLE, unknownVariables } from '../../../cli/environment.ts';
import { Failure } from '../../../cli/failure.ts';
import { REPOSITORY } from '../../../cli/home.ts';
import { misspelt } from '../../../control/config.ts';

const HELP = readFileSync(path.join(REPOSITORY, 'cli/help.txt'), 'utf8');

describe('arguments of the minivoice command', () => {
  it('are refused by name where a command does not take them, with the one that was meant', () => {
    expect(() => checkArguments('up', ['--foo'], { options: [] })).to.throw(
      Failure,
      'up has no option --foo',
    );
    expect(() => checkArguments('status', ['--jsno'], { options: ['--json'] })).to.throw(
      'status has no option --jsno: did you mean --json?',
    );
    expect(() => checkArguments('logs', ['a', 'b'], { options: ['-f'], words: 1 })).to.throw(
      'logs takes one argument: "b" is one too many.',
    );
    expect(() => checkArguments('logs', ['a', '-f'], { options: ['-f'], words: 1 })).to.not.throw();
    expect(() => checkArguments('bench', ['x', '--soak', '3'], {})).to.not.throw();
  });

  it('are checked for mocha too, which ignores what it does not know', () => {
    expect(() => checkMochaOptions(['--gerp', 'x'])).to.throw(
      'Mocha has no option --gerp: did you mean --grep?',
    );
    for (const good of [['--grep=a sentence'], ['-g', 'x'], ['--no-parallel'], ['--inspect-brk'], ['-b']])
      expect(() => checkMochaOptions(good), good.join(' ')).to.not.throw();
  });

  it('name a command that was meant', () => {
    expect(unknownCommand('stauts', ['status', 'up']).message).to.equal(
      'There is no command "stauts": did you mean status?',
    );
    expect(unknownCommand('dance', ['status', 'up']).message).to.contain('see ./minivoice help');
  });

  it('are in the help, and so is the environment', () => {
    for (const name of ['demo', 'test', 'up', 'down', 'status', 'logs', 'bench', 'help'])
      expect(HELP).to.contain(`  ./minivoice ${name}`);
    for (const name of FOR_PEOPLE) expect(HELP).to.contain(name);
  });
});

describe('environment variables', () => {
  it('of the command that nothing reads are named, with the one that was meant', () => {
    expect(unknownVariables({ MINIVOICE_HOM: '/x', MINIVOICE_COLOUR: 'red' })).to.deep.equal([
      'Nothing reads the environment variable MINIVOICE_HOM: did you mean MINIVOICE_HOME?',
      'Nothing reads the environment variable MINIVOICE_COLOUR',
    ]);
  });

  it('that are almost those of the control plane are named by both', () => {
    for (const [name, meant] of [
      ['HTTP_PROT', 'HTTP_PORT'],
      ['S3_BUCKT', 'S3_BUCKET'],
      ['KAMAILIO_RPC_URL', 'KAMAILIO_RPC_URLS'],
      ['log_level', 'LOG_LEVEL'],
    ] as const) {
      expect(misspelt({ [name]: 'x' }), name).to.deep.equal([{ name, meant }]);
      expect(unknownVariables({ [name]: 'x' })[0]).to.contain(`did you mean ${meant}?`);
    }
  });

  it("that are other programs' raise nothing", () => {
    const others = {
      HTTP_PROXY: '',
      http_proxy: '',
      HOSTNAME: '',
      SIP_PORT: '',
      RPC_PORT: '',
      KAMAILIO_BIN: '',
      KAMAILIO_SHM_MB: '',
      FREESWITCH_SIP_IP: '',
      NODE_ENV: '',
      HTTP_PORT: '',
    };
    expect(misspelt(others)).to.deep.equal([]);
    expect(unknownVariables(others)).to.deep.equal([]);
  });
});
