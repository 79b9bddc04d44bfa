import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { createRegistry } from '../../control/http/metrics.ts';

const TOP = join(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(TOP, file), 'utf8');
const all = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, found = '']) => found);

describe('docs/operators/metrics-and-alerts.md', () => {
  const page = read('docs/operators/metrics-and-alerts.md');
  const files = readdirSync(join(TOP, 'control'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join('control', file));
  const sources = files.map(read);
  const gauges = files
    .filter((file) => file.endsWith('/gauges.ts'))
    .flatMap((file) => all(read(file), /^ {4}(\w+): \[/gm))
    .map((name) => `minivoice_${name}`);
  const histograms = sources.flatMap((text) => all(text, /name: '(minivoice_\w+)'/g));
  const routes = readdirSync(join(TOP, 'kamailio/routes')).map((file) => read(join('kamailio/routes', file)));
  const statistics = routes.flatMap((text) => all(text, /modparam\("statistics", "variable", "(\w+)"\)/g));
  const ofTrunks = routes.flatMap((text) => all(text, /"prom_(?:counter|gauge)", "name=(\w+);/g));

  it('names every metric of the control plane, and none that does not exist', () => {
    const existing = [...gauges, ...histograms];
    expect(existing.length).to.be.greaterThan(20);
    const named = new Set(
      all(page, /(minivoice_[a-z_]+[a-z])/g).map((name) =>
        name.replace(/(?<=_seconds)_(bucket|count|sum)$/, ''),
      ),
    );
    expect([...named]).to.have.members(existing);
  });

  it('names only those metrics of Node that are there', async () => {
    const there = (await createRegistry().getMetricsAsJSON()).map(({ name }) => name);
    const named = [...new Set(all(page, /((?:nodejs|process)_[a-z0-9_]*[a-z0-9])/g))];
    expect(named.length).to.be.greaterThan(3);
    expect(there).to.include.members(named.filter((name) => name.includes('_', name.indexOf('_') + 1)));
  });

  it("names every counter of Kamailio's script and of trunks, and none that does not exist", () => {
    const short = page.replaceAll(
      /(`kamailio_script_refused_)stranger`((?:, `_\w+`)+)/g,
      (_, first: string, rest: string) =>
        [`${first}stranger\``, ...all(rest, /`_(\w+)`/g).map((reason) => `${first}${reason}\``)].join(' '),
    );
    expect([...new Set(all(short, /kamailio_script_(\w+)/g))]).to.have.members(statistics);
    expect([...new Set(all(short, /kamailio_(trunk_\w+)/g))]).to.have.members(ofTrunks);
  });
});

describe('docs/operators/tuning-kamailio.md', () => {
  it('has every value of kamailio/site.cfg that can be tuned, with its default', () => {
    const site = read('kamailio/site.cfg');
    const tuned = site.slice(site.indexOf('#!trydef LOG_LEVEL'));
    const values = [...tuned.matchAll(/^#!trydef (\w+) (.+)$/gm)].map(
      ([, name, value]) => `| \`${name}\` | \`${value}\` |`,
    );
    expect(values.length).to.be.greaterThan(15);
    const page = read('docs/operators/tuning-kamailio.md');
    expect(values.filter((value) => !page.includes(value))).to.deep.equal([]);
  });
});
