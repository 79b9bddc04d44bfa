import { serve, serveFromShell, type Served, type ServeOptions, type Webhook } from '../serve.ts';

/** What `recording.completed` tells. */
export interface Recording {
  id: string;
  duration_seconds: number;
  file_url: string;
}

/**
 * Records a call from its beginning, across the transfer, to its end: nothing needs to stop it. The audio can
 * be fetched once `recording.completed` has come, with the application's API key:
 *
 *   curl -H "Authorization: Bearer $KEY" -o call.wav "$FILE_URL"
 *
 * The transcript will be read likewise once MiniVoice has AI results; so far this example ends with the
 * recording.
 *
 *   TRANSFER_TO=+15551230002 WEBHOOK_SECRET=… node --import tsx examples/record-and-transcribe/server.ts
 */
export const startRecordAndTranscribe = ({
  transferTo,
  onRecording,
  onWebhook,
  ...options
}: ServeOptions & {
  transferTo: string;
  onRecording?: (callId: string, recording: Recording) => void;
}): Promise<Served> =>
  serve(
    {
      '/answer': () => [
        { type: 'start_recording' },
        { say: { text: 'This call may be recorded.' } },
        { type: 'transfer', destination: transferTo },
      ],
    },
    {
      ...options,
      onWebhook: (webhook: Webhook) => {
        onWebhook?.(webhook);
        if (webhook.event === 'recording.completed')
          onRecording?.(webhook.call.id, webhook.data as unknown as Recording);
      },
    },
  );

if (import.meta.filename === process.argv[1]) {
  const { TRANSFER_TO: transferTo } = process.env;
  if (!transferTo) throw new Error('TRANSFER_TO is not set');
  await serveFromShell((options) =>
    startRecordAndTranscribe({
      ...options,
      transferTo,
      onRecording: (call, { file_url, duration_seconds }) =>
        console.log(`${call}: ${duration_seconds} s of audio at ${file_url}`),
    }),
  );
}
