/**
 * Variables that hold for every channel which has none of its own: what vars.xml of the FreeSWITCH
 * configuration says, as far as it is looked at.
 */
export const POLICY: ReadonlyMap<string, string> = new Map([
  ['playback_terminators', 'none'],
  ['hangup_after_conference', 'false'],
  ['ringback', '%(1000,4000,425)'],
  ['transfer_ringback', '%(1000,4000,425)'],
  [
    'hold_music',
    'tone_stream://v=-22;%(1200,100,262,330);%(1200,100,220,330);%(1200,100,220,262);%(1200,900,247,294);loops=-1',
  ],
]);
