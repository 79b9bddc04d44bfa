import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { environment } from '../../../control/config.ts';

const compose = readFileSync(new URL('../../../docker-compose.yml', import.meta.url), 'utf8');
/** The text of one service. */
const service = (name: string): string =>
  new RegExp(`^ {2}${name}:\\n((?: {4}.*\\n|\\n)*)`, 'm').exec(compose)?.[1] ?? '';
const variablesOf = (name: string): string[] =>
  [...service(name).matchAll(/^ {6}([A-Z_]+): /gm)].map((match) => match[1] ?? '');

describe('docker-compose.yml', () => {
  it('gives the control plane every variable that has no default, and none that it does not know', () => {
    const required = Object.entries(environment.shape)
      .filter(([, schema]) => !schema.safeParse(undefined).success)
      .map(([name]) => name);
    const given = variablesOf('control');
    expect(given).to.include.members(required);
    expect(Object.keys(environment.shape)).to.include.members(given);
  });

  it('holds no secret: every one must come from the environment', () => {
    const secrets = [...compose.matchAll(/^ *(\w*(?:PASSWORD|TOKEN|SECRET_KEY)): (.*)$/gm)];
    expect(secrets.length).to.be.greaterThan(5);
    for (const [, name, value] of secrets) expect(value, name).to.match(/^(\$\{\w+(:\?[\w ]+)?\}|'yes')$/);
  });

  it('lets nothing inside listen beyond loopback', () => {
    for (const name of ['HTTP_HOST', 'EDGE_HOST', 'RPC_IP', 'FREESWITCH_ESL_IP'])
      expect(compose, name).to.match(new RegExp(`${name}: 127\\.0\\.0\\.1$`, 'm'));
    expect(service('mysql')).to.contain('--bind-address=127.0.0.1');
    expect(service('redis')).to.contain('--bind 127.0.0.1');
  });

  it('gives the control plane, the database and FreeSWITCH the time they need to stop', () => {
    for (const [name, least] of [
      ['control', 15],
      ['mysql', 30],
      ['freeswitch', 15],
    ] as const) {
      expect(Number(/^ {4}stop_grace_period: (\d+)s$/m.exec(service(name))?.[1]), name).to.be.at.least(least);
    }
  });

  it('lets FreeSWITCH and Kamailio open more files than Docker does by itself', () => {
    for (const name of ['freeswitch', 'kamailio'])
      expect(Number(/nofile: (\d+)/.exec(service(name))?.[1]), name).to.be.greaterThan(8192);
  });

  it("wants the API's public address, which the file_url of recordings begins with", () => {
    expect(service('control')).to.contain('PUBLIC_URL: ${PUBLIC_URL:?');
  });

  it('names each media node as Kamailio does, or no caller could join a room on another node', () => {
    const nodes = environment.shape.FREESWITCH_NODES.parse(
      /FREESWITCH_NODES: (.*)/.exec(service('control'))?.[1]?.replaceAll('${HOST_IP}', '10.0.0.1'),
    );
    expect(nodes.map(({ name }) => name).join(',')).to.equal(
      /MEDIA_NODES: (.*)/.exec(service('kamailio'))?.[1]?.replaceAll('${HOST_IP}', '10.0.0.1'),
    );
  });
});
