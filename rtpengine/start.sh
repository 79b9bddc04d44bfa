#!/bin/sh
# Starts rtpengine in the foreground, in user space; logs go to stderr.
# RTPENGINE_LISTEN_NG is `address:port` of its control protocol, which only Kamailio and the control plane may reach.
# RTPENGINE_INTERFACE is an address; `address!advertised` behind a NAT; or `inside/address;outside/address!advertised`, where media
# nodes are reached over another interface than carriers.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
interface=${RTPENGINE_INTERFACE:-127.0.0.1}
case $interface in
  */*) ;;
  # Media nodes are shown the address as it is, carriers the advertised one. The first interface is that of media streams, too.
  *!*) interface="inside/${interface%!*};outside/$interface" ;;
esac
for one in $(echo "$interface" | tr ';' ' '); do
  set -- "$@" --interface="$one"
done
exec "${RTPENGINE_BIN:-rtpengine}" --config-file="$here/rtpengine.conf" --config-section=rtpengine \
  --listen-ng="${RTPENGINE_LISTEN_NG:-127.0.0.1:2223}" \
  --port-min="${RTP_MIN:-30000}" --port-max="${RTP_MAX:-40000}" "$@"
