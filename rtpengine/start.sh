#!/bin/sh
# Starts rtpengine in the foreground, in user space; logs go to stderr.
# RTPENGINE_LISTEN_NG is `address:port` of its control protocol, which only Kamailio and the control plane may reach.
# RTPENGINE_INTERFACE is an address, `address!advertised`, or `name/address!advertised`.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
exec "${RTPENGINE_BIN:-rtpengine}" --config-file="$here/rtpengine.conf" --config-section=rtpengine \
  --listen-ng="${RTPENGINE_LISTEN_NG:-127.0.0.1:2223}" \
  --interface="${RTPENGINE_INTERFACE:-127.0.0.1}" \
  --port-min="${RTP_MIN:-30000}" --port-max="${RTP_MAX:-40000}"
