import type { Database } from '../lib/database.ts';
import type { Ids } from '../lib/ids.ts';
import { Billing, type BillingOptions } from './billing.ts';
import { HoldStore } from './holds/store.ts';
import { Rates } from './rates/rates.ts';
import { RateStore } from './rates/store.ts';

interface Needs extends Omit<BillingOptions, 'rates' | 'store'> {
  db: Database;
  ids: Ids;
}

export interface BillingRoom {
  billing: Billing;
  holdStore: HoldStore;
  rates: Rates;
  rateStore: RateStore;
}

/** Builds the billing room: rates in memory, holds in the database, and what looks after both. */
export function createBilling({ db, ids, ...options }: Needs): BillingRoom {
  const rateStore = new RateStore(db);
  const rates = new Rates(rateStore);
  const holdStore = new HoldStore(db, ids);
  return { billing: new Billing({ ...options, rates, store: holdStore }), holdStore, rates, rateStore };
}
