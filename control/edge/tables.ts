import { getCountryCallingCode, isSupportedCountry } from 'libphonenumber-js/max';
import { rejectCode, sipTargets } from '../dids/schema.ts';
import type { Directory } from './directory.ts';

/** The hash tables of Kamailio that the control plane fills: `kamailio/routes` says how each is read. */
export type TableName = 'dids' | 'sip_targets' | 'trunks';
export type Tables = Record<TableName, Map<string, string>>;

export const TABLES: readonly TableName[] = ['dids', 'sip_targets', 'trunks'];

/** What Kamailio's memory should hold. A disabled number is absent, like one that never was: it gets 404. */
export function tablesOf(directory: Directory): Tables {
  const tables: Tables = { dids: new Map(), sip_targets: new Map(), trunks: new Map() };
  for (const did of directory.dids()) {
    if (did.status !== 'active') continue;
    const suspended = directory.customer(did.customerId)?.status !== 'active';
    const mode = suspended ? 'x;' : did.routeMode === 'reject' ? 'r;' : did.routeMode === 'sip' ? 's;' : 'w;';
    tables.dids.set(did.number, `${mode}${did.customerId};${did.routeMode === 'reject' && !suspended ? rejectCode(did) : ''}`);
    if (did.routeMode === 'sip' && !suspended) tables.sip_targets.set(did.number, sipTargets(did).join('|'));
  }
  for (const trunk of directory.trunks()) {
    if (!trunk.isActive || !trunk.inboundIp) continue;
    const callingCode = trunk.country && isSupportedCountry(trunk.country) ? getCountryCallingCode(trunk.country) : '';
    tables.trunks.set(trunk.inboundIp, `${trunk.id};${trunk.customerId ?? '*'};${callingCode}`);
  }
  return tables;
}
