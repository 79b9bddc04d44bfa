import type { Tariff } from '../charge.ts';

export type Direction = 'inbound' | 'outbound';

export interface Rate extends Tariff {
  readonly id: string;
  /** Absent: the default table, for every customer without a matching rate of its own. */
  readonly customerId: string | undefined;
  readonly direction: Direction;
  /** The start of an E.164 number, with its plus sign. */
  readonly prefix: string;
  readonly currency: string;
  /** Absent: always. */
  readonly validFrom: Date | undefined;
  readonly isActive: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
