import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { expect } from 'chai';
import ts from 'typescript';

const TOP = join(import.meta.dirname, '../..');

/** Files that are still longer than 400 lines. The list only shrinks: split one and take its name out. */
const STILL_LONG = [
  'control/app.ts',
  'control/billing/holds/store.ts',
  'control/calls/calls.ts',
  'control/media/node.ts',
  'control/streams/service.ts',
  'test/e2e/inbound.test.ts',
  'test/e2e/streams.test.ts',
  'test/integration/applications/applications.test.ts',
  'test/integration/calls/rig.ts',
  'test/integration/calls/world.ts',
  'test/integration/embedded/event-socket.test.ts',
  'test/integration/embedded/signalling.test.ts',
  'test/integration/kamailio/edge.ts',
  'test/integration/kamailio/torture/invalid.ts',
  'test/integration/lib/guarded-fetch.test.ts',
  'test/integration/limits/limits.test.ts',
  'test/integration/media/freeswitch.test.ts',
  'test/integration/webhooks/api.test.ts',
  'test/integration/webhooks/stream.test.ts',
  'test/support/call.ts',
  'test/unit/edge/decisions.test.ts',
  'test/unit/edge/dialogs.test.ts',
  'test/unit/examples/campaign.test.ts',
  'test/unit/flow/answer-url.test.ts',
  'test/unit/flow/schema-properties.test.ts',
  'test/unit/media/reconciliation.test.ts',
  'test/unit/placing/outbound.test.ts',
];

/** Every source file under a folder, and the files of ours that it imports, types included. */
function importsUnder(folder: string): Map<string, string[]> {
  const files = readdirSync(join(TOP, folder), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return new Map(
    files.map((file) => {
      const path = join(folder, file);
      const { importedFiles } = ts.preProcessFile(readFileSync(join(TOP, path), 'utf8'), true, true);
      return [
        path,
        importedFiles
          .map(({ fileName }) => fileName)
          .filter((name) => name.startsWith('.'))
          .map((name) => relative(TOP, join(TOP, dirname(path), name))),
      ];
    }),
  );
}

const roomOf = (file: string): string => {
  const [top = '', room = '', next] = file.split('/');
  return top !== 'control' ? top : next === undefined ? 'app' : room;
};

/** A path from something back to itself, or undefined. */
function circle(graph: Map<string, Iterable<string>>): string[] | undefined {
  const done = new Set<string>();
  const visit = (node: string, trail: string[]): string[] | undefined => {
    if (trail.includes(node)) return [...trail.slice(trail.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const next of graph.get(node) ?? []) {
      const found = visit(next, [...trail, node]);
      if (found) return found;
    }
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const found = visit(node, []);
    if (found) return found;
  }
  return undefined;
}

describe('the house', () => {
  const control = importsUnder('control');
  const edges = [...control].flatMap(([from, tos]) => tos.map((to) => ({ from, to })));
  const show = ({ from, to }: { from: string; to: string }) => `${from} imports ${to}`;
  const offending = (rule: (from: string, to: string) => boolean) =>
    edges.filter(({ from, to }) => rule(from, to)).map(show);

  it('has imports to check', () => expect(edges.length).to.be.greaterThan(100));

  it('lib imports no room; of the rest it knows the migrations alone', () => {
    expect(
      offending(
        (from, to) => roomOf(from) === 'lib' && roomOf(to) !== 'lib' && !to.startsWith('db/migrations'),
      ),
    ).to.deep.equal([]);
  });

  it('nothing below imports the composition root or the configuration as values', () => {
    expect(
      offending(
        (from, to) =>
          roomOf(from) !== 'app' && ['control/app.ts', 'control/main.ts', 'control/config.ts'].includes(to),
      ),
    ).to.deep.equal([]);
  });

  it("a room's store is its own; only the composition root builds it", () => {
    expect(
      offending(
        (from, to) => /[/-]store\.ts$/.test(to) && roomOf(from) !== roomOf(to) && from !== 'control/app.ts',
      ),
    ).to.deep.equal([]);
  });

  it('the flow, the calls and their placing know media nodes by their interface alone', () => {
    expect(
      offending(
        (from, to) =>
          ['flow', 'calls', 'placing', 'edge'].includes(roomOf(from)) &&
          roomOf(to) === 'media' &&
          to !== 'control/media/media.ts',
      ),
    ).to.deep.equal([]);
  });

  it("Kamailio's counterpart is known to the composition root alone", () => {
    expect(
      offending((from, to) => roomOf(to) === 'edge' && !['edge', 'app'].includes(roomOf(from))),
    ).to.deep.equal([]);
  });

  it('the event socket protocol is known to media alone and knows nothing of it', () => {
    expect(
      offending((from, to) => to.startsWith('control/media/esl/') && roomOf(from) !== 'media'),
    ).to.deep.equal([]);
    expect(
      offending(
        (from, to) =>
          from.startsWith('control/media/esl/') &&
          !to.startsWith('control/media/esl/') &&
          roomOf(to) !== 'lib',
      ),
    ).to.deep.equal([]);
  });

  it('SQL is in stores, the outbox and the parts of http that keep state; builders of rooms only pass the database on', () => {
    const allowed =
      /\/((?:[a-z]+-)?store|outbox|idempotency|create)\.ts$|^control\/(app|reseal|calls\/journal)\.ts$|^control\/lib\//;
    expect(offending((from, to) => to === 'control/lib/database.ts' && !allowed.test(from))).to.deep.equal(
      [],
    );
  });

  it('no files import each other in a circle, and no rooms do', () => {
    const all = ['control', 'cli', 'freeswitch/embedded', 'examples', 'db', 'test'].flatMap((folder) => [
      ...importsUnder(folder),
    ]);
    expect(circle(new Map(all))).to.equal(undefined);
    const rooms = new Map<string, Set<string>>();
    for (const { from, to } of edges) {
      if (roomOf(from) !== roomOf(to))
        rooms.set(roomOf(from), (rooms.get(roomOf(from)) ?? new Set()).add(roomOf(to)));
    }
    expect(circle(rooms)).to.equal(undefined);
  });

  it('no file has more than 400 lines, but for those that are listed', () => {
    const long = ['control', 'cli', 'freeswitch/embedded', 'examples', 'db', 'test'].flatMap((folder) =>
      [...importsUnder(folder).keys()].filter(
        (file) => readFileSync(join(TOP, file), 'utf8').split('\n').length - 1 > 400,
      ),
    );
    expect(long.sort()).to.deep.equal(STILL_LONG);
  });

  it('nothing but tests imports from the tests', () => {
    const found = ['control', 'cli', 'freeswitch/embedded', 'examples', 'db'].flatMap((folder) =>
      [...importsUnder(folder)].flatMap(([from, tos]) =>
        tos.filter((to) => to.startsWith('test/')).map((to) => show({ from, to })),
      ),
    );
    expect(found).to.deep.equal([]);
  });

  it('an example imports what examples share, and no other example', () => {
    const found = [...importsUnder('examples')].flatMap(([from, tos]) =>
      tos
        .filter((to) => dirname(to) !== 'examples' && dirname(to) !== dirname(from))
        .map((to) => show({ from, to })),
    );
    expect(found).to.deep.equal([]);
  });

  it('the embedded media node shares only the logger with the control plane, and the examples share nothing', () => {
    const outside = (folder: string, allowed: string[]) =>
      [...importsUnder(folder)].flatMap(([from, tos]) =>
        tos
          .filter((to) => !to.startsWith(`${folder}/`) && !allowed.includes(to))
          .map((to) => show({ from, to })),
      );
    expect(outside('freeswitch/embedded', ['control/lib/logger.ts'])).to.deep.equal([]);
    expect(outside('examples', [])).to.deep.equal([]);
  });
});
