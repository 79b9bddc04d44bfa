import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import ts from 'typescript';
import {
  CALL_HEADERS,
  carriedCall,
  linesOfCall,
  readCallHeaders,
  WRITERS,
  type CallHeader,
  type HeaderWriter,
} from '../../../control/lib/call-headers.ts';

const TOP = join(import.meta.dirname, '../../..');
const HOME = 'lib/call-headers.ts';

/** The text of every file below a folder that ends so. */
const filesOf = (folder: string, ending: string): [string, string][] =>
  readdirSync(join(TOP, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => [file, readFileSync(join(TOP, folder, file), 'utf8')]);

const textOf = (folder: string, ending: string): string =>
  filesOf(folder, ending)
    .map(([, text]) => text)
    .join('\n');

const headers = Object.keys(CALL_HEADERS) as CallHeader[];
const namesFrom = (...writers: HeaderWriter[]): string[] =>
  headers
    .filter((header) => WRITERS[header].some((writer) => writers.includes(writer)))
    .map((header) => CALL_HEADERS[header]);
const namesIn = (text: string): string[] => [
  ...new Set([...text.matchAll(/X-MV-[A-Za-z]+(?:-[A-Za-z]+)*/gi)].map(([name]) => name)),
];
/** What the first group of a pattern has found, each once. */
const found = (text: string, pattern: RegExp): string[] => [
  ...new Set([...text.matchAll(pattern)].map(([, name = '']) => name)),
];

const kamailio = textOf('kamailio', '.cfg');
const dialplan = textOf('freeswitch/conf', '.xml');
const embedded = textOf('freeswitch/embedded', '.ts');

describe('the X-MV-* headers', () => {
  it('have no name twice', () => {
    expect(new Set(Object.values(CALL_HEADERS)).size).to.equal(headers.length);
  });

  for (const [part, text] of Object.entries({ kamailio, dialplan, embedded }))
    it(`of ${part} are in the list, written as there`, () => {
      const names = namesIn(text);
      expect(names).not.to.be.empty;
      expect(Object.values(CALL_HEADERS)).to.include.members(names);
    });

  it('that Kamailio believes in a SIP message are written by a media node, or by the control plane', () => {
    const read = found(kamailio, /(?:\$hdr\(|\$\(hdr\(|is_present_hf\(")(X-MV-[\w-]+)/g);
    expect(read).not.to.be.empty;
    expect(namesFrom('dial', 'control')).to.include.members(read);
  });

  it('that Kamailio is said to write are those it writes', () => {
    const written = found(kamailio, /"(X-MV-[\w-]+): /g);
    expect(written).to.have.members(namesFrom('kamailio'));
  });

  it('that a media node acts on are written by a decision or by Kamailio, never by a caller', () => {
    const read = [
      ...found(dialplan, /\$\{sip_h_(X-MV-[\w-]+)\}/g),
      ...found(embedded, /'sip_h_(X-MV-[\w-]+)'/g),
    ];
    expect(read).not.to.be.empty;
    expect(namesFrom('decision', 'kamailio')).to.include.members(read);
  });

  it('of a stranger are all removed before an INVITE reaches a media node, and ours put on it after that', () => {
    for (const route of ['HIDE_FROM_NODE', 'ROOM_BRANCH']) {
      const body = new RegExp(`^(?:branch_)?route\\[${route}\\] \\{\\n(.*?)^\\}`, 'ms').exec(kamailio)?.[1];
      const stripped = /remove_hf_re\("([^"]+)"\)/.exec(body ?? '')?.[1];
      if (stripped === undefined) throw new Error(`${route} removes no headers`);
      for (const name of Object.values(CALL_HEADERS)) expect(name, route).to.match(new RegExp(stripped));
    }
    const branch = /^branch_route\[MEDIA_BRANCH\] \{\n(.*?)^\}/ms.exec(kamailio)?.[1] ?? '';
    expect(branch.indexOf('route(HIDE_FROM_NODE)')).to.be.within(0, branch.indexOf('append_hf('));
    const room = /^branch_route\[ROOM_BRANCH\] \{\n(.*?)^\}/ms.exec(kamailio)?.[1] ?? '';
    expect(room.indexOf('remove_hf_re(')).to.be.within(0, room.indexOf('append_hf('));
  });

  it('do not pass towards any other side', () => {
    const passed = /^#!define HARMLESS "([^"]+)"/m.exec(kamailio)?.[1];
    if (passed === undefined) throw new Error('Kamailio has no list of harmless headers');
    for (const name of Object.values(CALL_HEADERS)) expect(name).not.to.match(new RegExp(passed, 'i'));
  });

  it('are written out in the control plane in their home alone', () => {
    const literals = filesOf('control', '.ts').flatMap(([file, text]) => {
      const names: string[] = [];
      const visit = (node: ts.Node): void => {
        const literal =
          ts.isStringLiteralLike(node) ||
          ts.isTemplateHead(node) ||
          ts.isTemplateMiddleOrTemplateTail(node) ||
          ts.isRegularExpressionLiteral(node);
        if (literal && /x-mv-/i.test(node.text)) names.push(`${file}: ${node.text}`);
        ts.forEachChild(node, visit);
      };
      if (file !== HOME) visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
      return names;
    });
    expect(literals).to.deep.equal([]);
  });

  it('are all used by somebody', () => {
    const control = textOf('control', '.ts');
    const home = readFileSync(join(TOP, 'control', HOME), 'utf8');
    const unused = headers.filter((header) => {
      const written = control.includes(`CALL_HEADERS.${header}`) || home.includes(`['${header}', call.`);
      return !written && !namesIn(`${kamailio}${dialplan}${embedded}`).includes(CALL_HEADERS[header]);
    });
    expect(unused).to.deep.equal([]);
  });

  it('bring an inbound call to whoever finds its channel, as it was decided', () => {
    const call = {
      id: 'call_1',
      customerId: 'cust_1',
      applicationId: 'app_1',
      from: '+15550001',
      to: '+15551111',
      trunkId: 'trunk_1',
      createdAt: new Date('2026-11-30T12:00:00.123Z'),
    };
    const lines = linesOfCall(call, 7).split('\r\n').slice(0, -1);
    const read = readCallHeaders(
      lines.map((line): [string, string] => {
        const [name = '', value = ''] = line.split(': ');
        return [name, value];
      }),
    );
    expect(read).to.include({ owner: '7', 'call-id': 'call_1' });
    expect(read && carriedCall(read)).to.deep.equal(call);
  });

  it('of a channel that has no call id, or not all of a call, are no call', () => {
    expect(readCallHeaders([['X-MV-From', '+15550001']])).to.equal(undefined);
    expect(readCallHeaders([['Call-ID', 'a@b']])).to.equal(undefined);
    expect(carriedCall({ 'call-id': 'call_1', customer: 'cust_1', to: '+15551111' })).to.equal(undefined);
  });
});
