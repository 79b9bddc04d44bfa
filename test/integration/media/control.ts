import { pino } from 'pino';
import { FreeSwitchMedia } from '../../../control/media/freeswitch.ts';
import type { ParkedChannel } from '../../../control/media/media.ts';
import type { NodeTimings } from '../../../control/media/node.ts';
import { Watched } from '../../../cli/phone/wait.ts';
import { PASSWORD, type TestNode } from './nodes.ts';

/** A control process, as far as the media nodes see one: what it was handed is in `parked`. */
export class Control extends Watched {
  readonly parked: ParkedChannel[] = [];
  readonly media: FreeSwitchMedia;

  constructor(
    node: TestNode,
    options: { eslPort?: number; kamailio?: string; timings?: Partial<NodeTimings> } = {},
  ) {
    super();
    this.media = new FreeSwitchMedia({
      nodes: [node.address(options.eslPort)],
      password: PASSWORD,
      kamailio: options.kamailio ?? '127.0.0.1:9',
      logger: pino({ level: 'silent' }),
      timings: { settleMs: 200, ...options.timings },
    });
    this.media.start((parked) => {
      this.parked.push(parked);
      this.changed();
    });
  }

  next(count = 1): Promise<ParkedChannel> {
    return this.until(() => this.parked[count - 1], 'a parked call');
  }
}
