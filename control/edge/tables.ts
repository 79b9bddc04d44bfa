import { createHash, createHmac } from 'node:crypto';
import { rejectCode, sipTargets, type RoutedDid } from '../dids/schema.ts';
import type { Trunk } from '../trunks/schema.ts';
import type { Directory } from '../directory/directory.ts';
import { callingCodeOf } from '../trunks/number-format.ts';

/**
 * The hash tables of Kamailio that the control plane fills, each with the letter `kamailio/routes/tables.cfg`
 * knows it by: `kamailio/core.cfg` and `kamailio/routes` say how each is read.
 */
export const TABLES = {
  dids: 'd',
  sip_targets: 's',
  trunks: 't',
  logins: 'l',
  contacts: 'c',
  carriers: 'r',
  credentials: 'p',
  probes: 'o',
  registrations: 'g',
} as const;
export type TableName = keyof typeof TABLES;
export type Tables = Record<TableName, Map<string, string>>;
type NumberTables = Pick<Tables, 'dids' | 'sip_targets'>;

const emptyTables = (): Tables =>
  Object.fromEntries(Object.keys(TABLES).map((table) => [table, new Map<string, string>()])) as Tables;

/** The realm of our own challenges: `kamailio/routes/challenge.cfg` names the same. */
export const REALM = 'minivoice';

/**
 * What Kamailio's memory should hold. A disabled number is absent, like one that never was: it gets 404.
 * @param token the secret shared with Kamailio: what nobody else can guess is made of it.
 */
export function tablesOf(directory: Directory, token: string): Tables {
  const tables = trunkTablesOf(directory, token);
  for (const did of directory.dids()) addNumber(tables, directory, did);
  return tables;
}

/** The same without the numbers. */
export function trunkTablesOf(directory: Directory, token: string): Tables {
  const tables = emptyTables();
  for (const trunk of directory.trunks()) if (trunk.isActive) addTrunk(tables, trunk, token);
  return tables;
}

/** What it should hold of one number. */
export function numberTablesOf(directory: Directory, number: string): NumberTables {
  const tables = { dids: new Map<string, string>(), sip_targets: new Map<string, string>() };
  const did = directory.didByNumber(number);
  if (did) addNumber(tables, directory, did);
  return tables;
}

function addNumber(tables: NumberTables, directory: Directory, did: RoutedDid): void {
  if (did.status !== 'active') return;
  const suspended = directory.customer(did.customerId)?.status !== 'active';
  const mode = suspended ? 'x;' : did.routeMode === 'reject' ? 'r;' : did.routeMode === 'sip' ? 's;' : 'w;';
  tables.dids.set(
    did.number,
    `${mode}${did.customerId};${did.routeMode === 'reject' && !suspended ? rejectCode(did) : ''}`,
  );
  if (did.routeMode === 'sip' && !suspended) tables.sip_targets.set(did.number, sipTargets(did).join('|'));
}

function addTrunk(tables: Tables, trunk: Trunk, token: string): void {
  const { id, username, password } = trunk;
  const origin = `${id};${trunk.customerId ?? '*'};${callingCodeOf(trunk.country)}`;
  const where = `${trunk.proxy}${trunk.port === undefined ? '' : `:${trunk.port}`}${trunk.transport === 'udp' ? '' : `;transport=${trunk.transport}`}`;
  tables.carriers.set(
    id,
    `${trunk.fromDomain ?? ''};${trunk.maxConcurrent ?? ''};${trunk.maxCps ?? ''};${trunk.retryOn404 ? 1 : ''};${trunk.customerId === undefined ? '' : 1}`,
  );
  if (trunk.probe) tables.probes.set(id, `sip:${where}`);
  // An address may belong to trunks of several customers, and so may a username.
  if (trunk.inboundIp) append(tables.trunks, trunk.inboundIp, origin);
  if (username === undefined || password === undefined) return;
  for (const [name, value] of Object.entries({ username, password, realm: trunk.realm }))
    if (value !== undefined) tables.credentials.set(`${id}::${name}`, base64(value));
  if (!trunk.inboundIp) {
    append(
      tables.logins,
      username,
      `${origin};${createHash('md5').update(`${username}:${REALM}:${password}`).digest('hex')}`,
    );
    tables.contacts.set('logins', '1');
  }
  if (!trunk.register) return;
  // Whoever calls this Contact has been told of it by the registrar.
  const contact = `reg.${createHmac('sha256', token).update(id).digest('hex').slice(0, 32)}`;
  const domain = trunk.fromDomain ?? trunk.proxy;
  tables.contacts.set(contact, origin);
  tables.registrations.set(
    id,
    `sip:${domain}|sip:${where}|sip:${encodeURIComponent(username)}@${domain}|${contact}`,
  );
}

function append(table: Map<string, string>, key: string, value: string): void {
  const others = table.get(key);
  table.set(key, others === undefined ? value : `${others}|${value}`);
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
