import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { environment, readConfig } from '../../control/config.ts';

const PAGE = readFileSync(join(import.meta.dirname, '../../docs/operators/environment.md'), 'utf8');

describe('docs/operators/environment.md', () => {
  it("has the control plane's environment as its configuration reads it, word for word", () => {
    for (const [name, schema] of Object.entries(environment.shape)) {
      const parsed = schema.safeParse(undefined);
      const standard = !parsed.success
        ? 'required'
        : parsed.data === undefined
          ? '–'
          : `\`${String(parsed.data)}\``;
      expect(PAGE).to.contain(`| \`${name}\` | ${standard} | ${schema.description ?? 'NO DESCRIPTION'} |`);
    }
  });
});

describe('the configuration', () => {
  it('names every variable that is missing or wrong at once', () => {
    expect(() => readConfig({ HTTP_PORT: 'eighty', FREESWITCH_NODES: 'here' }))
      .to.throw(/HTTP_PORT[^]*ADMIN_TOKEN|ADMIN_TOKEN[^]*HTTP_PORT/)
      .and.to.match(/FREESWITCH_NODES/);
  });
});
