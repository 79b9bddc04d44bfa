import { rejectCode, sipTargets, type Did } from '../dids/schema.ts';
import type { Directory } from './directory.ts';
import { callingCodeOf } from './number-format.ts';

/** The hash tables of Kamailio that the control plane fills: `kamailio/routes` says how each is read. */
export type TableName = 'dids' | 'sip_targets' | 'trunks';
export type Tables = Record<TableName, Map<string, string>>;

export const TABLES: readonly TableName[] = ['dids', 'sip_targets', 'trunks'];

/** What Kamailio's memory should hold. A disabled number is absent, like one that never was: it gets 404. */
export function tablesOf(directory: Directory): Tables {
  const tables: Tables = { dids: new Map(), sip_targets: new Map(), trunks: new Map() };
  for (const did of directory.dids()) addNumber(tables, directory, did);
  for (const trunk of directory.trunks()) {
    if (!trunk.isActive || !trunk.inboundIp) continue;
    tables.trunks.set(trunk.inboundIp, `${trunk.id};${trunk.customerId ?? '*'};${callingCodeOf(trunk.country)}`);
  }
  return tables;
}

/** The same for one number alone: what a change of it needs, however many others there are. */
export function numberTablesOf(directory: Directory, number: string): Omit<Tables, 'trunks'> {
  const tables = { dids: new Map<string, string>(), sip_targets: new Map<string, string>() };
  const did = directory.didByNumber(number);
  if (did) addNumber(tables, directory, did);
  return tables;
}

function addNumber(tables: Omit<Tables, 'trunks'>, directory: Directory, did: Did): void {
  if (did.status !== 'active') return;
  const suspended = directory.customer(did.customerId)?.status !== 'active';
  const mode = suspended ? 'x;' : did.routeMode === 'reject' ? 'r;' : did.routeMode === 'sip' ? 's;' : 'w;';
  tables.dids.set(did.number, `${mode}${did.customerId};${did.routeMode === 'reject' && !suspended ? rejectCode(did) : ''}`);
  if (did.routeMode === 'sip' && !suspended) tables.sip_targets.set(did.number, sipTargets(did).join('|'));
}
